package raw

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"weir/internal/platform/httpx"
	"weir/internal/platform/rawjson"
	"weir/plugins/store/lake"
)

const (
	queryTimeout = 30 * time.Second
	queries      = 4       // requests answered at a time; others wait
	pageBytes    = 8 << 20 // a page ends early once it is this large
)

// nextHeader carries the cursor of the next page: NDJSON and CSV have no place for it in
// the body.
const nextHeader = "Weir-Next-Cursor"

// Handler answers GET /v1/events for the fleet that apikey.Authenticator put into the
// request. clock is time.Now, except in tests.
func Handler(store *lake.Store, clock func() time.Time) http.Handler {
	h := &handler{reader: NewReader(store), clock: clock, slots: make(chan struct{}, queries)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/events", h.events)
	return mux
}

type handler struct {
	reader *Reader
	clock  func() time.Time
	slots  chan struct{}
}

func (h *handler) events(w http.ResponseWriter, r *http.Request) {
	q, bad := parseRequest(r, h.clock())
	if bad != nil {
		httpx.Write(w, *bad)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), queryTimeout)
	defer cancel()
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-ctx.Done():
		failed(w, r, ctx.Err())
		return
	}
	p := page{request: q}
	if _, err := h.reader.beside(ctx, q, p.add); err != nil {
		failed(w, r, err)
		return
	}
	p.answer(w)
}

// page collects the events of one answer.
type page struct {
	*request
	body  []byte
	count int
	last  Position
	next  string
}

// add is the callback of the scan. It ends the scan when the page is full.
func (p *page) add(r *Row) (err error) {
	if p.count == p.limit || len(p.body) >= pageBytes {
		p.next = p.cursor(p.last)
		return errStop
	}
	if p.body, err = p.write(p.body, r, p.count == 0); err != nil {
		return err
	}
	p.count++
	p.last = PositionOf(r)
	return nil
}

// write appends one event in the format of the request.
func (p *page) write(b []byte, r *Row, first bool) ([]byte, error) {
	if p.format == formatCSV {
		return p.line(b, r)
	}
	if p.format == formatJSON && !first {
		b = append(b, ',')
	}
	b = append(b, '{')
	for i, f := range p.fields {
		at := len(b)
		if i > 0 && b[at-1] != '{' {
			b = append(b, ',')
		}
		b = append(rawjson.AppendString(b, f.name), ':')
		value := len(b)
		var err error
		if b, err = f.append(b, r, p.query.Metric); err != nil {
			return b, err
		}
		if len(b) == value { // the event has none
			b = b[:at]
		}
	}
	b = append(b, '}')
	if p.format == formatNDJSON {
		b = append(b, '\n')
	}
	return b, nil
}

// line appends an event as a line of CSV: texts as they are, arrays and objects as JSON.
func (p *page) line(b []byte, r *Row) ([]byte, error) {
	cells := make([]string, len(p.fields))
	for i, f := range p.fields {
		cell, err := f.append(nil, r, p.query.Metric)
		if err != nil {
			return b, err
		}
		if len(cell) > 1 && cell[0] == '"' {
			_, plain, err := rawjson.String(cell, 0)
			if err != nil {
				return b, fmt.Errorf("writing CSV: %w", err)
			}
			cell = []byte(rawjson.Text(cell[1:len(cell)-1], plain))
		}
		cells[i] = string(cell)
	}
	return appendCSV(b, cells)
}

// head appends the header line of CSV.
func (p *page) head(b []byte) ([]byte, error) {
	names := make([]string, len(p.fields))
	for i, f := range p.fields {
		names[i] = f.name
	}
	return appendCSV(b, names)
}

func appendCSV(b []byte, cells []string) ([]byte, error) {
	var line strings.Builder
	w := csv.NewWriter(&line)
	if err := w.Write(cells); err != nil {
		return b, fmt.Errorf("writing CSV: %w", err)
	}
	w.Flush()
	return append(b, line.String()...), w.Error()
}

func (p *page) answer(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Type", p.format)
	if p.next != "" {
		h.Set(nextHeader, p.next)
	}
	body := p.body
	switch p.format {
	case formatJSON:
		next := []byte("null")
		if p.next != "" {
			next = rawjson.AppendString(nil, p.next)
		}
		body = make([]byte, 0, len(p.body)+len(next)+32)
		body = append(append(append(body, `{"events":[`...), p.body...), `],"next":`...)
		body = append(append(body, next...), '}', '\n')
	case formatCSV:
		head, err := p.head(nil)
		if err != nil { // cannot happen: constant names, written to memory
			httpx.Cause(w, err)
			httpx.Write(w, httpx.Problem{Type: "internal", Status: http.StatusInternalServerError, Title: "Internal error"})
			return
		}
		body = append(head, p.body...)
	}
	_, _ = w.Write(body) // an error means that the client has gone
}

// failed answers a request when the store could not be read. The error may name hosts and
// paths, so it goes to the log and not into the answer.
func failed(w http.ResponseWriter, r *http.Request, err error) {
	p := httpx.Problem{Type: "store-unavailable", Status: http.StatusServiceUnavailable,
		Title:  "The raw store does not answer",
		Detail: "retry; events go on being accepted meanwhile"}
	if errors.Is(err, context.DeadlineExceeded) {
		p = httpx.Problem{Type: "query-too-slow", Status: http.StatusServiceUnavailable, Title: "The query took too long",
			Detail: "ask for fewer devices, a shorter range or a smaller limit"}
	}
	if r.Context().Err() == nil {
		w.Header().Set("Retry-After", "2")
	}
	httpx.Cause(w, err)
	httpx.Write(w, p)
}
