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

// ownError is of weir: its text holds nothing of a key or an answer.
type ownError struct{ error }

// statusCode is what the engine says of an answer over HTTP, before it quotes it.
var statusCode = regexp.MustCompile(`unexpected response code \((\d{3})\)`)

// told is what the log says of a failure: of which kind it is. Sources put the key,
// and what was answered, into their texts.
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

// answerMost bounds an answer: it is kept, and goes into every event of its key.
const answerMost = 64 << 10

// said makes an answer of what a source says: nothing and null are none.
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

// ofProcessors asks by processors of the engine: what they make of the key is the
// answer.
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
		if len(all) == 0 { // a filter took it
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

// place is what a database of addresses says.
type place struct {
	Country string `json:"country"`
	Region  string `json:"region"`
}

// ofAddresses tells the region of an address, by a database that is followed.
func ofAddresses(file *geo.File) source {
	return func(_ context.Context, key string) (answer, error) {
		at, err := netip.ParseAddr(strings.TrimSpace(key))
		if err != nil {
			return answer{absent: true}, nil //nolint:nilerr // what is no address is nowhere
		}
		built := file.Built() // before it is asked: of two at once, the older one is named
		region, err := file.Region(at)
		if err != nil || region == "" {
			return answer{absent: true}, err
		}
		country, _, _ := strings.Cut(region, "-")
		raw, err := json.Marshal(place{country, region})
		return answer{raw: raw, built: built.Format(buildFormat)}, err
	}
}

// ofSQL asks a store: the first row of the query is the answer, its columns by
// their names.
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
