package retention

import (
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

// Handler serves the reports of runs: GET /v1/retention?limit=. It does not authorize the caller:
// mount it behind Require(Admin, …).
func Handler(control *sqldb.DB) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/retention", func(w http.ResponseWriter, r *http.Request) {
		limit := runsDefault
		if text := r.URL.Query().Get("limit"); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 || n > runsMost {
				httpx.Invalid(w, fmt.Sprintf("limit: expected 1 to %d", runsMost))
				return
			}
			limit = n
		}
		runs, err := Runs(r.Context(), control, limit)
		if runs == nil {
			runs = []Run{}
		}
		if err != nil {
			httpx.Unavailable(w, "the control store", err)
			return
		}
		httpx.Answer(w, http.StatusOK, map[string]any{"runs": runs})
	})
	return mux
}
