package api

import (
	"fmt"
	"net/http"
	"sync"

	"weir/internal/control/apikey"
	"weir/internal/platform/httpx"
)

// queries limits the concurrency of heavy queries, in total and per fleet.
type queries struct {
	most, perFleet int
	refused        func(reason string)

	mu   sync.Mutex
	open int
	by   map[string]int // by fleet
}

func newQueries(most, perFleet int, refused func(string)) *queries {
	return &queries{most: most, perFleet: perFleet, refused: refused, by: map[string]int{}}
}

// queryAgain is the Retry-After in seconds, about the duration of a query.
const queryAgain = "2"

// bounded wraps a handler with the limit. It must run after authentication.
func (q *queries) bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fleet := apikey.FleetFrom(r.Context())
		if full := q.enter(fleet); full != "" {
			q.refused(reasonQueries)
			w.Header().Set("Retry-After", queryAgain)
			httpx.Write(w, httpx.Problem{Type: reasonQueries, Status: http.StatusTooManyRequests,
				Title: "Too many queries at a time", Detail: full})
			return
		}
		defer q.leave(fleet)
		next.ServeHTTP(w, r)
	})
}

// enter admits a query, or returns why it is rejected.
func (q *queries) enter(fleet string) (full string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.open >= q.most:
		return fmt.Sprintf("%d queries are being answered, and that many may be: ask again in %s seconds", q.open, queryAgain)
	case q.by[fleet] >= q.perFleet:
		return fmt.Sprintf("%d queries of the fleet are being answered, and that many may be: ask again in %s seconds",
			q.by[fleet], queryAgain)
	}
	q.open++
	q.by[fleet]++
	return ""
}

func (q *queries) leave(fleet string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.open--
	if q.by[fleet]--; q.by[fleet] == 0 {
		delete(q.by, fleet)
	}
}
