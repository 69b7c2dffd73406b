package api

import (
	"context"
	"net/http"

	"weir/plugins/apikey"
	"weir/plugins/problem"
)

// mount puts every room's REST under its path, behind the scope it needs.
func (in *input) mount(ctx context.Context) (http.Handler, error) {
	keys, cache, err := in.openKeys(ctx)
	if err != nil {
		return nil, err
	}
	auth := &apikey.Authenticator{Keys: cache}
	admin := func(h http.Handler) http.Handler { return auth.Require(apikey.Admin, in.recorder.audited(h)) }
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.Handle("/v1/keys", admin(apikey.Handler(keys, cache.Refresh)))
	mux.Handle("/v1/keys/", admin(apikey.Handler(keys, cache.Refresh)))
	mux.HandleFunc("/", notFound)
	return mux, nil
}

func notFound(w http.ResponseWriter, r *http.Request) {
	problem.Write(w, problem.Problem{Type: "not-found", Status: http.StatusNotFound,
		Title: "There is nothing at this path", Detail: "the paths are listed in /openapi.json"})
}
