package analytics

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"weir/internal/control/apikey"
	"weir/internal/platform/httpx"
	"weir/internal/platform/live"
	"weir/plugins/process/rule"
)

const (
	queryTimeout = 10 * time.Second
	pageRows     = 1000
	pageMost     = 10_000
)

// Handler answers GET /v1/analytics/…, for the fleet that apikey.Authenticator put
// into the request; openapi.json describes it. The clock is time.Now but in tests.
// Equal questions of a fleet share an answer for a second while there is no erasure
// under way; without erasures, none do.
func Handler(source *Source, clock func() time.Time, erasures Erasures) http.Handler {
	h := &handler{source: source, clock: clock, erasures: erasures, shared: live.Shared{Keep: keepAnswers,
		Most: mostAnswers}}
	mux := http.NewServeMux()
	for path, answer := range map[string]func(context.Context, *query) (any, error){
		"events": h.events, "users": h.users, "revenue": h.revenue, "sessions": h.sessions, "funnels/{name}": h.funnel,
		"attribution": h.attribution,
	} {
		mux.HandleFunc("GET /v1/analytics/"+path, h.answering(strings.TrimSuffix(path, "/{name}"), answer))
	}
	return mux
}

const (
	keepAnswers = time.Second
	mostAnswers = 16 << 20
)

// Erasures tells whether none is under way, and marks what was read meanwhile, as
// erasure.Store does.
type Erasures interface {
	Quiet(ctx context.Context) (mark string, quiet bool, err error)
}

type handler struct {
	source   *Source
	clock    func() time.Time
	erasures Erasures
	shared   live.Shared
}

// query is a request, as it was read.
type query struct {
	ask
	name, model string
	asked       string // the request: equal ones have equal answers
	limit       int
	hash        uint32
	after       string // the last row of the page before
	now         time.Time
}

// last is where a page of rows begins: behind this one.
type last struct {
	Row string `json:"r"`
}

func (h *handler) answering(kind string, answer func(context.Context, *query) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q, bad := h.read(r, kind)
		if bad != nil {
			httpx.Write(w, *bad)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), queryTimeout)
		defer cancel()
		raw, err := h.share(ctx, q, func(ctx context.Context) ([]byte, error) {
			body, err := answer(ctx, q)
			if err != nil {
				return nil, err
			}
			return httpx.Encode(body)
		})
		switch {
		case errors.Is(err, errTooMuch), errors.Is(err, errModel):
			httpx.Write(w, *httpx.Bad("from", "%s", err))
		case errors.Is(err, rule.ErrRemade):
			w.Header().Set("Retry-After", "30")
			httpx.Write(w, httpx.Problem{Type: "unavailable", Status: http.StatusServiceUnavailable,
				Title: "Temporarily unavailable", Detail: rule.ErrRemade.Error() + ": ask again in a minute, or for other hours"})
		case err != nil:
			httpx.Unavailable(w, "the store of rules", err)
		default:
			httpx.Encoded(w, http.StatusOK, raw)
		}
	}
}

// share answers a question, or returns what an equal one was answered since a second
// ago. Nobody is shown what an erasure has erased: while one is under way nothing is
// shared, and after it nothing of before.
func (h *handler) share(ctx context.Context, q *query, answer func(context.Context) ([]byte, error)) ([]byte, error) {
	if h.erasures == nil {
		return answer(ctx)
	}
	mark, quiet, err := h.erasures.Quiet(ctx)
	if err != nil {
		return nil, err
	}
	if !quiet {
		return answer(ctx)
	}
	return h.shared.Get(ctx, mark+"\x00"+q.asked, answer)
}

// read reads a request of a kind. A range without an end ends now, and begins an
// hour, or with another step some windows, before.
func (h *handler) read(r *http.Request, kind string) (*query, *httpx.Problem) {
	names := map[string][]string{
		"events": {"step", "type", "limit", "cursor"}, "users": {"step", "limit", "cursor"},
		"revenue": {"step", "currency", "limit", "cursor"}, "attribution": {"model", "currency", "limit", "cursor"},
	}[kind]
	v, bad := httpx.Parse(r, append([]string{"fleet", "from", "to"}, names...), nil)
	if bad != nil {
		return nil, bad
	}
	q := &query{now: h.clock(), name: r.PathValue("name"), model: v.Get("model")}
	if q.fleet = apikey.FleetFrom(r.Context()); q.fleet == "" {
		return nil, httpx.NoFleet()
	}
	q.asked = strings.Join([]string{q.fleet, kind, q.name, v.Encode()}, "\x00")
	if q.only = v.Get("type"); kind != "events" {
		q.only = v.Get("currency")
	}
	if kind == "attribution" {
		switch q.model {
		case "":
			q.model = modelLast
		case modelFirst, modelLast, modelLinear:
		default:
			return nil, httpx.Bad("model", "%q is not one of first, last, linear", q.model)
		}
	}
	if kind == "funnels" && !rule.IsFunnel(q.name) {
		return nil, httpx.Bad("name", "%q is no funnel: the rules of funnels are named funnel_ and something", q.name)
	}
	if q.limit, bad = httpx.Limit(v, pageRows, pageMost); bad != nil {
		return nil, bad
	}
	q.hash = httpx.Hash(v, q.fleet+"\x00"+kind, append(names, "from", "to")...)
	if bad := q.reach(v, kind); bad != nil {
		return nil, bad
	}
	return q, nil
}

// reach reads the range and the step, or goes on with those of the page before.
func (q *query) reach(v url.Values, kind string) (bad *httpx.Problem) {
	stepped, most, length := kind == "events" || kind == "users" || kind == "revenue", 31*day, day
	if stepped {
		name := v.Get("step")
		if name == "" {
			name = "1m"
		}
		known := false
		if q.step, known = stepOf(name); !known || name == "5m" && kind != "events" {
			return httpx.Bad("step", "%q is not one of 1m, 1h, 1d, and of events 5m", name)
		}
		if most, length = q.step.most, time.Hour; q.step.every > time.Minute {
			length = 30 * q.step.every
		}
	}
	if q.from, q.to, bad = httpx.Range(v, q.now, length); bad != nil {
		return bad
	}
	if stepped {
		q.from = q.from.Truncate(q.step.every)
		if q.step.width > q.step.every && v.Get("from") == "" { // the windows that are full by now
			q.from = q.from.Add(-q.step.width)
		}
	}
	if kind == "funnels" && v.Get("from") == "" { // the sums of hours answer it
		q.from = q.from.Truncate(time.Hour)
	}
	if q.to.Sub(q.from) > most+day {
		return httpx.Bad("from", "the range is longer than %d days, the most of this query; ask for a shorter one, "+
			"or a wider step", int(most/day))
	}
	at, from, to, bad := httpx.Resume[last](v, q.hash)
	if bad != nil {
		return bad
	}
	if at != nil {
		q.after, q.from, q.to = at.Row, time.UnixMicro(from).UTC(), time.UnixMicro(to).UTC()
	}
	return nil
}

// page is the part of the rows that a request is answered with, and where the next
// one begins.
func page[R row](q *query, rows []R) ([]R, *string) {
	from := 0
	for from < len(rows) && q.after != "" && rows[from].order() <= q.after {
		from++
	}
	if rows = rows[from:]; len(rows) <= q.limit {
		return rows, nil
	}
	rows = rows[:q.limit]
	next := httpx.Cursor(last{rows[q.limit-1].order()}, q.from.UnixMicro(), q.to.UnixMicro(), q.hash)
	return rows, &next
}

func (h *handler) events(ctx context.Context, q *query) (any, error) {
	rows, err := h.source.events(ctx, q.ask)
	shown, next := page(q, rows)
	return map[string]any{"step": q.step.name, "error": rule.UniquesError, "events": shown, "next": next}, err
}

func (h *handler) users(ctx context.Context, q *query) (any, error) {
	rows, total, err := h.source.users(ctx, q.ask)
	shown, next := page(q, rows)
	return map[string]any{"step": q.step.name, "error": rule.UniquesError, "total": total, "users": shown,
		"next": next}, err
}

func (h *handler) revenue(ctx context.Context, q *query) (any, error) {
	rows, total, err := h.source.revenue(ctx, q.ask)
	shown, next := page(q, rows)
	return map[string]any{"step": q.step.name, "total": total, "revenue": shown, "next": next}, err
}

func (h *handler) sessions(ctx context.Context, q *query) (any, error) {
	return h.source.sessions(ctx, q.ask, q.now)
}

func (h *handler) funnel(ctx context.Context, q *query) (any, error) {
	return h.source.funnel(ctx, q.ask, q.name, q.now)
}

func (h *handler) attribution(ctx context.Context, q *query) (any, error) {
	rows, err := h.source.attribution(ctx, q.ask, q.model)
	shown, next := page(q, rows)
	return map[string]any{"model": q.model, "attribution": shown, "next": next}, err
}
