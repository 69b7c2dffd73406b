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

// The kinds of calls. The commit of a transaction is where it waits for disks and replicas. Its begin is counted as a
// read in PostgreSQL.
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

// kindOf returns the kind of a statement, by its first word.
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

// tracer measures each call of a pool. The time of a query ends when its last row was read.
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
	if errors.Is(err, context.Canceled) || answer(err) { // the caller has gone, or the server works as it should
		err = nil
	}
	if of, ok := ctx.Value(tracedKey{}).(traced); ok {
		t.Note(of.kind, of.began, err)
	}
}

// answer reports whether an error is a normal answer of a healthy server: a row exists already, or another transaction
// goes first.
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

// CopyIn writes rows to a table by COPY, and measures it as a write.
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
