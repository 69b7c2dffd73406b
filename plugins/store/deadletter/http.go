package deadletter

import (
	"context"
	_ "embed" // openapi.json
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/internal/control/apikey"
	"weir/internal/event"
	"weir/internal/platform/httpx"
	"weir/internal/platform/text"
	"weir/plugins/store/lake"
)

//go:embed openapi.json
var openAPI []byte

// OpenAPI returns this package's part of the OpenAPI document.
func OpenAPI() []byte { return openAPI }

const (
	browseMost            = 30 * time.Second // for one request
	browseAtOnce          = 2                // requests that are answered at the same time; others wait
	pageLetters, pageMost = 50, 500
	rangeStandard         = 24 * time.Hour
	rangeMost             = 400 * 24 * time.Hour
	oldestLetter          = 400 * 24 * time.Hour // how far back a letter without failed_at is searched
)

// Handler serves
//
//	GET /v1/dead-letters?stage=&code=&device=&from=&to=&limit=&cursor=   the newest first
//	GET /v1/dead-letters/{id}?failed_at=                                 one, its original as far as a page shows it
//	GET /v1/dead-letters/{id}/original?failed_at=                        the bytes of its original, as a file
//	POST /v1/dead-letters/{id}/discard?failed_at=                        {"reason"} → the dead letter, which is not to go back
//
// for the fleet that apikey.Authenticator put into the request. An admin's request that names no
// fleet is for all fleets, and for letters without one. clock is time.Now, except in tests.
func Handler(store *lake.Store, outcomes *Outcomes, clock func() time.Time) http.Handler {
	h := &handler{store: store, outcomes: outcomes, clock: clock, slots: make(chan struct{}, browseAtOnce)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/dead-letters", h.list)
	mux.HandleFunc("GET /v1/dead-letters/{id}", h.found(h.whole))
	mux.HandleFunc("GET /v1/dead-letters/{id}/original", h.found(original))
	mux.HandleFunc("POST /v1/dead-letters/{id}/discard", h.discard)
	return mux
}

type handler struct {
	store    *lake.Store
	outcomes *Outcomes
	clock    func() time.Time
	slots    chan struct{}
}

type letterJSON struct {
	ID         string          `json:"id"`
	Fleet      string          `json:"fleet"`
	Stage      string          `json:"stage"`
	Code       string          `json:"code"`
	Message    string          `json:"message"`
	Device     *string         `json:"device_id"`
	Event      *string         `json:"event_id"`
	ReceivedAt *string         `json:"received_at"`
	FailedAt   string          `json:"failed_at"`
	Errors     json.RawMessage `json:"errors"`
	Size       int64           `json:"original_size"`
	Outcome    *OutcomeJSON    `json:"outcome"` // null: nothing became of it yet
}

type pageJSON struct {
	Letters []letterJSON `json:"dead_letters"`
	Next    *string      `json:"next"`
}

// slot waits until another request may be answered; ctx bounds how long the whole request may take.
func (h *handler) slot(w http.ResponseWriter, r *http.Request) (ctx context.Context, done func(), ok bool) {
	ctx, cancel := context.WithTimeout(r.Context(), browseMost)
	select {
	case h.slots <- struct{}{}:
		return ctx, func() { <-h.slots; cancel() }, true
	case <-ctx.Done():
		cancel()
		unanswered(w, ctx.Err())
		return nil, nil, false
	}
}

func (h *handler) list(w http.ResponseWriter, r *http.Request) {
	now := h.clock()
	q, limit, before, hash, bad := h.parse(r, now)
	if bad != nil {
		httpx.Write(w, *bad)
		return
	}
	ctx, done, ok := h.slot(w, r)
	if !ok {
		return
	}
	defer done()
	rows, more, err := browse(ctx, h.store, q, before, limit)
	if err != nil {
		unanswered(w, err)
		return
	}
	became, err := h.outcomes.Of(ctx, idsOf(rows))
	if err != nil {
		httpx.Unavailable(w, "the control store", err)
		return
	}
	page := pageJSON{Letters: make([]letterJSON, len(rows))}
	for i, row := range rows {
		page.Letters[i] = letterOf(row)
		page.Letters[i].Outcome = outcomeOf(became, row)
	}
	if more {
		next := httpx.Cursor(placeOf(rows[len(rows)-1]), q.From.UnixMicro(), q.To.UnixMicro(), hash)
		page.Next = &next
	}
	httpx.Answer(w, http.StatusOK, page)
}

func (h *handler) parse(r *http.Request, now time.Time) (q Query, limit int, before *place, hash uint32,
	bad *httpx.Problem) {
	v, bad := httpx.Parse(r, []string{"fleet", "stage", "code", "device", "from", "to", "limit", "cursor"}, nil)
	if bad != nil {
		return q, 0, nil, 0, bad
	}
	if q, bad = filterOf(v, now); bad != nil {
		return q, 0, nil, 0, bad
	}
	q.Fleet = apikey.FleetFrom(r.Context())
	if limit, bad = httpx.Limit(v, pageLetters, pageMost); bad != nil {
		return q, 0, nil, 0, bad
	}
	hash = httpx.Hash(v, q.Fleet, "stage", "code", "device", "from", "to")
	before, from, to, bad := httpx.Resume[place](v, hash)
	if before != nil { // the range of the first page
		q.From, q.To = time.UnixMicro(from), time.UnixMicro(to)
	}
	return q, limit, before, hash, bad
}

// filterOf reads the filters of a list.
func filterOf(v url.Values, now time.Time) (q Query, bad *httpx.Problem) {
	list := func(name string) (all []string) {
		if v.Get(name) != "" {
			all = strings.Split(v.Get(name), ",")
		}
		return all
	}
	q.Stages, q.Device = list("stage"), v.Get("device")
	for _, code := range list("code") {
		if !slices.Contains(event.Codes(), event.Code(code)) {
			return q, httpx.Bad("code", "%q is no code: the list is in openapi.json", code)
		}
		q.Codes = append(q.Codes, event.Code(code))
	}
	if q.From, q.To, bad = httpx.Range(v, now.Add(time.Second), rangeStandard); bad != nil {
		return q, bad
	}
	if q.To.Sub(q.From) > rangeMost {
		return q, httpx.Bad("from", "the range is longer than %d days", int(rangeMost.Hours()/24))
	}
	return q, nil
}

func letterOf(r *Row) letterJSON {
	l := letterJSON{ID: r.IDText(), Fleet: r.Fleet, Stage: r.Stage, Code: r.Code, Message: r.Message, Errors: errorsOf(r),
		FailedAt: timeText(r.FailedAt), Size: r.OriginalSize}
	for from, to := range map[string]**string{r.Device: &l.Device, r.Event: &l.Event} {
		if from != "" {
			*to = &from
		}
	}
	if r.ReceivedAt != 0 {
		at := timeText(r.ReceivedAt)
		l.ReceivedAt = &at
	}
	return l
}

func timeText(micros int64) string { return time.UnixMicro(micros).UTC().Format(event.TimeFormat) }

// errorsShown bounds the errors of a dead letter in an answer.
const errorsShown = 100

func errorsOf(r *Row) json.RawMessage {
	var list []event.FieldError
	if json.Unmarshal(r.Errors, &list) != nil || len(list) == 0 {
		return json.RawMessage(`[]`)
	}
	raw, err := text.JSON(list[:min(len(list), errorsShown)])
	if err != nil {
		return json.RawMessage(`[]`)
	}
	return raw
}

// found finds the dead letter of a request and passes it to answer.
func (h *handler) found(answer func(w http.ResponseWriter, r *http.Request, row *Row)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if row := h.one(w, r); row != nil {
			answer(w, r, row)
		}
	}
}

// one returns the dead letter of a request, or nil after it has answered with an error.
func (h *handler) one(w http.ResponseWriter, r *http.Request) *Row {
	at, bad := failedAt(r)
	if bad != nil {
		httpx.Write(w, *bad)
		return nil
	}
	id, ok := text.ParseUUID(r.PathValue("id"))
	if !ok {
		httpx.NotFound(w, "expected the id of a dead letter, which is a UUID")
		return nil
	}
	ctx, done, ok := h.slot(w, r)
	if !ok {
		return nil
	}
	row, err := h.find(ctx, apikey.FleetFrom(r.Context()), id, at)
	done() // a client that reads slowly does not occupy a slot
	switch {
	case errors.Is(err, ErrUnknown):
		httpx.NotFound(w, "no dead letter has this id: one is here some seconds after it failed, until its time is over")
	case err != nil:
		unanswered(w, err)
	default:
		return row
	}
	return nil
}

// failedAt reads the time of failure of the dead letter in a request; the zero time: it is not
// given.
func failedAt(r *http.Request) (at time.Time, bad *httpx.Problem) {
	v, bad := httpx.Parse(r, []string{"fleet", "failed_at"}, nil)
	if bad != nil {
		return at, bad
	}
	given := v.Get("failed_at")
	at, ok := text.ParseTime(given)
	if given != "" && !ok {
		return at, httpx.Bad("failed_at", "expected an RFC 3339 time with a zone")
	}
	return at, nil
}

func (h *handler) find(ctx context.Context, fleet string, id [16]byte, at time.Time) (*Row, error) {
	return Find(ctx, h.store, fleet, id, at, h.clock())
}

// Find returns a dead letter of a fleet ("": of any), with all that is stored of its original. at
// is when it failed, which finds it at once; the zero time: not known. The error is ErrUnknown if
// there is none.
func Find(ctx context.Context, store *lake.Store, fleet string, id [16]byte, at, now time.Time) (*Row, error) {
	q := Query{From: now.Add(-oldestLetter), To: now.Add(time.Minute), Fleet: fleet}
	if !at.IsZero() {
		q.From, q.To = at.Truncate(time.Microsecond), at.Truncate(time.Microsecond).Add(time.Microsecond)
	}
	return find(ctx, store, q, id)
}

func (h *handler) whole(w http.ResponseWriter, r *http.Request, row *Row) {
	became, err := h.outcomes.Of(r.Context(), []string{row.IDText()})
	if err != nil {
		httpx.Unavailable(w, "the control store", err)
		return
	}
	out := wholeOf(row)
	out.Outcome = outcomeOf(became, row)
	httpx.Answer(w, http.StatusOK, out)
}

// original answers with the bytes of a dead letter, as a file that browsers do not open. Of an
// original that was too large, only the beginning is stored.
func original(w http.ResponseWriter, _ *http.Request, row *Row) {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", `attachment; filename="`+row.IDText()+`.bin"`)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", strconv.Itoa(len(row.Original)))
	_, _ = w.Write(row.Original) // an error: the client has gone
}

// unanswered answers that the store has failed or was too slow.
func unanswered(w http.ResponseWriter, err error) {
	if errors.Is(err, context.DeadlineExceeded) {
		httpx.Cause(w, err)
		w.Header().Set("Retry-After", "5")
		httpx.Write(w, httpx.Problem{Type: "query-too-slow", Status: http.StatusServiceUnavailable,
			Title: "The query took too long", Detail: "ask for a shorter range, one stage, or a smaller limit"})
		return
	}
	httpx.Unavailable(w, "the dead-letter store", err)
}
