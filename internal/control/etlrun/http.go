package etlrun

import (
	_ "embed" // openapi.json
	"errors"
	"fmt"
	"net/http"
	"time"

	"weir/internal/platform/httpx"
)

//go:embed openapi.json
var openAPI []byte

// OpenAPI describes the endpoints of runs, to be merged into the API's document.
func OpenAPI() []byte { return openAPI }

// pageMost is the maximum number of runs in one answer.
const pageMost = 100

var errInvalid = errors.New("invalid question")

// Handler serves the progress of pipeline runs:
//
//	GET /v1/etl/runs?pipeline=&state=&before=   the newest first, a hundred at a time
//	GET /v1/etl/runs/{pipeline}/{run}           one, with its report
func Handler(store *Store) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/etl/runs", func(w http.ResponseWriter, r *http.Request) {
		f, err := filterOf(r)
		if err != nil {
			answer(w, nil, err)
			return
		}
		runs, err := store.List(r.Context(), f)
		answer(w, map[string]any{"runs": runs}, err)
	})
	mux.HandleFunc("GET /v1/etl/runs/{pipeline}/{run}", func(w http.ResponseWriter, r *http.Request) {
		run, err := store.Get(r.Context(), r.PathValue("pipeline"), r.PathValue("run"))
		answer(w, run, err)
	})
	return mux
}

func filterOf(r *http.Request) (f Filter, err error) {
	q := r.URL.Query()
	f = Filter{Pipeline: q.Get("pipeline"), State: q.Get("state"), Limit: pageMost}
	switch f.State {
	case "", Running, Done, Failed:
	default:
		return f, fmt.Errorf("%w: state: expected %s, %s or %s", errInvalid, Running, Done, Failed)
	}
	if before := q.Get("before"); before != "" {
		if f.Before, err = time.Parse(time.RFC3339Nano, before); err != nil {
			return f, fmt.Errorf("%w: before: expected a time such as 2026-11-28T00:00:00Z", errInvalid)
		}
	}
	return f, nil
}

func answer(w http.ResponseWriter, body any, err error) {
	switch {
	case err == nil:
		httpx.Answer(w, http.StatusOK, body)
	case errors.Is(err, errNoRun):
		httpx.NotFound(w, err.Error())
	case errors.Is(err, errInvalid):
		httpx.Invalid(w, err.Error())
	default:
		httpx.Unavailable(w, "the store of runs", err)
	}
}
