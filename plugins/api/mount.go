package api

import (
	"context"
	"net/http"
	"time"

	"weir/plugins/apikey"
	"weir/plugins/problem"
	"weir/plugins/rollup"
	"weir/plugins/sqldb"
)

// mount opens what the rooms' REST reads, and puts each under its path, behind
// the scope it needs.
func (in *input) mount(ctx context.Context) (http.Handler, error) {
	keys, cache, err := in.openKeys(ctx)
	if err != nil {
		return nil, err
	}
	rollups, err := in.openRollups(ctx)
	if err != nil {
		return nil, err
	}
	auth := &apikey.Authenticator{Keys: cache}
	query := func(h http.Handler) http.Handler { return auth.Require(apikey.Query, h) }
	admin := func(h http.Handler) http.Handler { return auth.Require(apikey.Admin, in.recorder.audited(h)) }

	mux := http.NewServeMux()
	for path, handler := range map[string]http.Handler{
		"/v1/rollups":             query(rollup.Handler(rollups, time.Now)),
		"/v1/devices/{id}/latest": query(rollup.Handler(rollups, time.Now)),
		"/v1/keys":                admin(apikey.Handler(keys, cache.Refresh)),
		"/v1/keys/":               admin(apikey.Handler(keys, cache.Refresh)),
		"/":                       http.HandlerFunc(notFound),
	} {
		mux.Handle(path, handler)
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	return mux, nil
}

// openRollups opens the rollup store for reading; it makes the tables when a
// query is served before anything was rolled up.
func (in *input) openRollups(ctx context.Context) (*rollup.Store, error) {
	db, release, err := sqldb.Shared(ctx, in.res, in.rollups)
	if err != nil {
		return nil, err
	}
	in.release = append(in.release, release)
	return rollup.Open(ctx, db, rollup.DefaultLimits())
}

func notFound(w http.ResponseWriter, _ *http.Request) {
	problem.Write(w, problem.Problem{Type: "not-found", Status: http.StatusNotFound,
		Title: "There is nothing at this path", Detail: "the paths are listed in /openapi.json"})
}
