package rollup

import (
	"context"
	"errors"
	"net/http"
	"time"

	"weir/internal/control/apikey"
	"weir/internal/event"
	"weir/internal/platform/httpx"
)

// queryTimeout bounds one request.
const queryTimeout = 30 * time.Second

// Handler answers GET /v1/rollups and GET /v1/devices/{id}/latest for the fleet that
// apikey.Authenticator put into the request. openapi.json describes both. clock is time.Now,
// except in tests.
func Handler(store *Store, clock func() time.Time) http.Handler {
	h := &handler{store, clock}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/rollups", h.rollups)
	mux.HandleFunc("GET /v1/devices/{id}/latest", h.latest)
	mux.HandleFunc("/v1/rollups", onlyGet)
	mux.HandleFunc("/v1/devices/{id}/latest", onlyGet)
	return mux
}

func onlyGet(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Allow", "GET, HEAD")
	httpx.Write(w, httpx.Problem{Type: "method-not-allowed", Status: http.StatusMethodNotAllowed,
		Title: "The method is not allowed here", Detail: "rollups are only read: use GET"})
}

type handler struct {
	store *Store
	clock func() time.Time
}

type lineJSON struct {
	Device  *string `json:"device_id"` // null: all devices of the query
	Devices int     `json:"devices,omitempty"`
	Metric  string  `json:"metric"`
	Bucket  string  `json:"bucket"`
	Count   int64   `json:"count"`
	Sum     float64 `json:"sum"`
	Min     float64 `json:"min"`
	Max     float64 `json:"max"`
	Avg     float64 `json:"avg"`
	P50     float64 `json:"p50"`
	P95     float64 `json:"p95"`
}

type pageJSON struct {
	Resolution string     `json:"resolution"`
	Rollups    []lineJSON `json:"rollups"`
	Next       *string    `json:"next"`
}

type latestJSON struct {
	Device  string                 `json:"device_id"`
	Metrics map[string]readingJSON `json:"metrics"`
	Rollups []lineJSON             `json:"rollups"`
}

type readingJSON struct {
	Value float64 `json:"value"`
	At    string  `json:"at"`
}

func linesJSON(lines []line) []lineJSON {
	out := make([]lineJSON, len(lines))
	for i := range lines {
		l, m := &lines[i], lines[i].metric
		out[i] = lineJSON{
			Devices: l.devices, Metric: m.Name, Bucket: time.Unix(l.Bucket, 0).UTC().Format(time.RFC3339),
			Count: m.Count, Sum: m.Sum.Hi, Min: m.Min, Max: m.Max, Avg: m.avg(),
			P50: m.quantile(0.50), P95: m.quantile(0.95),
		}
		if l.devices == 0 {
			out[i].Device = &l.Device
		}
	}
	return out
}

func (h *handler) rollups(w http.ResponseWriter, r *http.Request) {
	q, hash, bad := parseQuery(r, h.clock())
	if bad != nil {
		httpx.Write(w, *bad)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), queryTimeout)
	defer cancel()
	lines, next, err := h.store.run(ctx, q)
	if err != nil {
		failed(w, r, err)
		return
	}
	page := pageJSON{Resolution: q.Resolution.Name, Rollups: linesJSON(lines)}
	if next != nil {
		c := encodeCursor(*next, q, hash)
		page.Next = &c
	}
	httpx.Answer(w, http.StatusOK, page)
}

func (h *handler) latest(w http.ResponseWriter, r *http.Request) {
	device := r.PathValue("id")
	fleet := apikey.FleetFrom(r.Context())
	if fleet == "" {
		httpx.Write(w, *httpx.NoFleet())
		return
	}
	if !event.ValidDevice(device) {
		httpx.Write(w, *httpx.Bad("id", "expected a device_id: 1 to 128 of letters, digits, '.', '_', ':' and '-'"))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), queryTimeout)
	defer cancel()
	l, err := h.store.latest(ctx, fleet, device, h.clock().Add(-5*time.Minute).Unix())
	if errors.Is(err, errUnknownDevice) {
		httpx.Write(w, httpx.Problem{Type: "unknown-device", Status: http.StatusNotFound, Title: "No rollups of this device",
			Detail: "the fleet has no rollups of this device; a device appears some seconds after its first accepted event"})
		return
	}
	if err != nil {
		failed(w, r, err)
		return
	}
	out := latestJSON{Device: device, Metrics: make(map[string]readingJSON, len(l.Metrics)), Rollups: linesJSON(l.Recent)}
	for name, m := range l.Metrics {
		out.Metrics[name] = readingJSON{m.Last, time.UnixMicro(m.LastAt).UTC().Format(time.RFC3339Nano)}
	}
	httpx.Answer(w, http.StatusOK, out)
}

// failed answers a request when the database could not be read. The error may name hosts and
// tables, so it goes to the log and not into the answer.
func failed(w http.ResponseWriter, r *http.Request, err error) {
	p := httpx.Problem{Type: "store-unavailable", Status: http.StatusServiceUnavailable,
		Title:  "The rollup store does not answer",
		Detail: "retry; events go on being accepted meanwhile"}
	if errors.Is(err, context.DeadlineExceeded) {
		p = httpx.Problem{Type: "query-too-slow", Status: http.StatusServiceUnavailable, Title: "The query took too long",
			Detail: "ask for fewer devices, a shorter range, a coarser resolution or a smaller limit"}
	}
	if r.Context().Err() == nil {
		w.Header().Set("Retry-After", "2")
	}
	httpx.Cause(w, err)
	httpx.Write(w, p)
}
