package api

import (
	"net/http"
	"strings"

	"weir/internal/control/apikey"
	"weir/plugins/ingest/registry"
)

// registry guards the schema registry: any active key reads it and asks what
// would be compatible; an admin key changes it, which is audited. Clients of
// other registries send user and password: the password is the key.
func (in *input) registry(auth *apikey.Authenticator, handler http.Handler) http.Handler {
	handler = http.StripPrefix("/registry", handler)
	change := auth.Require(apikey.Admin, in.recorder.audited(handler))
	return registry.WithBasicAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !readsRegistry(r) {
			change.ServeHTTP(w, r)
			return
		}
		if _, err := auth.Keys.Check(r.Context(), apikey.FromRequest(r)); err != nil {
			apikey.Refuse(w, err)
			return
		}
		handler.ServeHTTP(w, r)
	}))
}

// readsRegistry tells a request that changes nothing. Two kinds of POST are
// such: a compatibility check, and the search for a schema within a subject.
func readsRegistry(r *http.Request) bool {
	path := strings.Trim(strings.TrimPrefix(r.URL.Path, "/registry"), "/")
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return true
	case http.MethodPost:
		search := strings.HasPrefix(path, "subjects/") && strings.Count(path, "/") == 1
		return search || strings.HasPrefix(path, "compatibility/")
	}
	return false
}
