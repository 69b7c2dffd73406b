package sqldb

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/calls"
)

// The kinds of calls. A transaction's commit is where it waits for disks and
// replicas; its begin is counted with the reads of PostgreSQL.
const (
	callConnect = "connect"
	callRead    = "read"
	callWrite   = "write"
	callCommit  = "commit"
)

func newMeter(res *service.Resources, dialect Dialect) *calls.Meter {
	kinds := []string{callRead, callWrite, callCommit}
	if dialect == Postgres {
		kinds = append(kinds, callConnect)
	}
	return calls.Of(res, string(dialect), kinds...)
}

func meterOf(of func(Dialect) *calls.Meter, dialect Dialect) *calls.Meter {
	if of == nil {
		return nil
	}
	return of(dialect)
}

// kindOf is what a statement does, by its first word.
func kindOf(query string) string {
	word := strings.TrimLeft(query, " \t\r\n(")
	if end := strings.IndexAny(word, " \t\r\n;("); end >= 0 {
		word = word[:end]
	}
	switch strings.ToLower(word) {
	case "commit":
		return callCommit
	case "select", "begin", "show", "rollback", "":
		return callRead
	case "with":
		for _, changes := range []string{"DELETE FROM ", "INSERT INTO ", " SET "} {
			if strings.Contains(query, changes) {
				return callWrite
			}
		}
		return callRead
	}
	return callWrite
}

// tracer notes each call of a pool. A query's time is until its last row was
// read.
type tracer struct{ *calls.Meter }

type traced struct {
	kind  string
	began time.Time
}

type tracedKey struct{}

func begun(ctx context.Context, kind string) context.Context {
	return context.WithValue(ctx, tracedKey{}, traced{kind, time.Now()})
}

func (t tracer) ended(ctx context.Context, err error) {
	if errors.Is(err, context.Canceled) || answer(err) { // nobody waits any more; or the server did what it should
		err = nil
	}
	if of, ok := ctx.Value(tracedKey{}).(traced); ok {
		t.Note(of.kind, of.began, err)
	}
}

// answer tells whether an error is what a server that is well says to a statement:
// that there is such a row, or that another transaction goes first.
func answer(err error) bool {
	var pg *pgconn.PgError
	if errors.Is(err, pgx.ErrNoRows) || !errors.As(err, &pg) {
		return errors.Is(err, pgx.ErrNoRows)
	}
	return strings.HasPrefix(pg.Code, "23") || strings.HasPrefix(pg.Code, "40") || pg.Code == "55P03"
}

func (t tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	return begun(ctx, kindOf(data.SQL))
}

func (t tracer) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryEndData) {
	t.ended(ctx, data.Err)
}

func (t tracer) TraceConnectStart(ctx context.Context, _ pgx.TraceConnectStartData) context.Context {
	return begun(ctx, callConnect)
}

func (t tracer) TraceConnectEnd(ctx context.Context, data pgx.TraceConnectEndData) {
	t.ended(ctx, data.Err)
}

// CopyIn sends rows to a table by COPY, and notes it as a write.
func CopyIn(ctx context.Context, tx pgx.Tx, rows io.Reader, query string) error {
	conn := tx.Conn()
	t, _ := conn.Config().Tracer.(tracer)
	ctx = begun(ctx, callWrite)
	_, err := conn.PgConn().CopyFrom(ctx, rows, query)
	t.ended(ctx, err)
	return err
}

var (
	_ pgx.QueryTracer   = tracer{}
	_ pgx.ConnectTracer = tracer{}
)
