package enrich

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/geo"
	"weir/internal/platform/sqldb"
)

// ownError is an error of weir itself: its text has nothing of a key or an answer, so it may be logged.
type ownError struct{ error }

// statusCode matches the status in the engine's error for an HTTP answer, before the part that quotes the answer.
var statusCode = regexp.MustCompile(`unexpected response code \((\d{3})\)`)

// told returns the text of a failure for the log: only its kind, because errors of sources may contain keys and
// answers.
func told(err error) string {
	var own ownError
	var refused *pgconn.PgError
	var away net.Error
	status := statusCode.FindStringSubmatch(err.Error())
	switch {
	case errors.As(err, &own):
		return own.Error()
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &away) && away.Timeout():
		return "it does not answer in time"
	case status != nil:
		return "it answers " + status[1]
	case errors.As(err, &refused):
		return "it refuses the question (SQLSTATE " + refused.Code + ")"
	case errors.As(err, &away):
		return "it cannot be reached"
	}
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return fmt.Sprintf("it fails with a %T", err)
}

// answerMost bounds an answer, because it is cached and written into every event of its key.
const answerMost = 64 << 10

// said makes an answer of a source's output: an empty output and null mean that there is none.
func said(raw []byte) (answer, error) {
	switch raw = bytes.TrimSpace(raw); {
	case len(raw) == 0 || string(raw) == "null":
		return answer{absent: true}, nil
	case len(raw) > answerMost:
		return answer{}, ownError{fmt.Errorf("the answer has %d bytes: at most %d are taken", len(raw), answerMost)}
	case !json.Valid(raw):
		return answer{}, ownError{errors.New("the answer is no JSON")}
	}
	return answer{raw: bytes.Clone(raw)}, nil
}

// ofProcessors queries by processors of the engine: their output for the key is the answer.
func ofProcessors(processors []*service.OwnedProcessor) source {
	return func(ctx context.Context, key string) (answer, error) {
		out, err := service.ExecuteProcessors(ctx, processors, service.MessageBatch{service.NewMessage([]byte(key))})
		if err != nil {
			return answer{}, err
		}
		var all service.MessageBatch
		for _, batch := range out {
			all = append(all, batch...)
		}
		if len(all) == 0 { // a processor dropped it
			return answer{absent: true}, nil
		}
		if err := all[0].GetError(); err != nil {
			return answer{}, err
		}
		raw, err := all[0].AsBytes()
		if err != nil {
			return answer{}, err
		}
		return said(raw)
	}
}

// place is the answer of a database of network addresses.
type place struct {
	Country string `json:"country"`
	Region  string `json:"region"`
}

// ofAddresses looks up the region of an address in a database file, which is reloaded when it changes.
func ofAddresses(file *geo.File) source {
	return func(_ context.Context, key string) (answer, error) {
		at, err := netip.ParseAddr(strings.TrimSpace(key))
		if err != nil {
			return answer{absent: true}, nil //nolint:nilerr // what is no address is nowhere
		}
		built := file.Built() // before the query: if the file is replaced meanwhile, the older build is named
		region, err := file.Region(at)
		if err != nil || region == "" {
			return answer{absent: true}, err
		}
		country, _, _ := strings.Cut(region, "-")
		raw, err := json.Marshal(place{country, region})
		return answer{raw: raw, built: built.Format(buildFormat)}, err
	}
}

// ofSQL queries a SQL store: the first row is the answer, with its columns by name.
func ofSQL(query string, open func(context.Context) (*sqldb.DB, error)) source {
	return func(ctx context.Context, key string) (answer, error) {
		db, err := open(ctx)
		if err != nil {
			return answer{}, ownError{err}
		}
		rows, err := db.QueryContext(ctx, query, key)
		if err != nil {
			return answer{}, fmt.Errorf("asking the store: %w", err)
		}
		defer rows.Close()
		if !rows.Next() {
			return answer{absent: true}, rows.Err()
		}
		names, err := rows.Columns()
		if err != nil {
			return answer{}, err
		}
		values, into := make([]any, len(names)), make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return answer{}, fmt.Errorf("reading a row: %w", err)
		}
		row := make(map[string]any, len(names))
		for i, name := range names {
			if text, ok := values[i].([]byte); ok {
				values[i] = string(text)
			}
			row[name] = values[i]
		}
		raw, err := json.Marshal(row)
		if err != nil {
			return answer{}, err
		}
		return said(raw)
	}
}
