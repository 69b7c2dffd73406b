package retention

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"weir/internal/platform/httpx"
	"weir/internal/platform/sqldb"
)

const (
	runsDefault = 20
	runsMost    = 1000
)

// Handler serves what retention deleted: GET /v1/retention?limit=. It does not
// ask who calls: mount it behind Require(Admin, …).
func Handler(control *sqldb.DB) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/retention", func(w http.ResponseWriter, r *http.Request) {
		limit := runsDefault
		if text := r.URL.Query().Get("limit"); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 || n > runsMost {
				httpx.Write(w, httpx.Problem{Type: "bad-request", Status: http.StatusBadRequest, Title: "The request is not valid",
					Detail: fmt.Sprintf("limit: expected 1 to %d", runsMost)})
				return
			}
			limit = n
		}
		runs, err := Runs(r.Context(), control, limit)
		if runs == nil {
			runs = []Run{}
		}
		var raw []byte
		if err == nil {
			raw, err = json.Marshal(map[string]any{"runs": runs})
		}
		if err != nil {
			w.Header().Set("Retry-After", "5")
			httpx.Write(w, httpx.Problem{Type: "unavailable", Status: http.StatusServiceUnavailable, Title: "Temporarily unavailable",
				Detail: "the control store does not answer: try again"})
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write(append(raw, '\n')) // the client has gone
	})
	return mux
}
