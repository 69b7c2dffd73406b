package api

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"weir/internal/control/apikey"
	"weir/internal/platform/httpx"
	"weir/internal/platform/text"
	"weir/plugins/ingest/registry"
	"weir/plugins/serve/console"
)

// routed mounts the handlers, given by path prefix, behind apikey.Routes. A handler without a route or a route
// without a handler is an error.
func (in *input) routed(auth *apikey.Authenticator, rooms map[string]http.Handler) (http.Handler, error) {
	mux, used := http.NewServeMux(), map[string]bool{}
	for _, route := range apikey.Routes() {
		if route.Server != apikey.API {
			continue
		}
		room := roomOf(rooms, route.Path)
		if room == "" {
			return nil, fmt.Errorf("mounting the api: nothing answers %s", route.Pattern())
		}
		used[room] = true
		handler := rooms[room]
		if route.Heavy {
			handler = in.queries.bounded(handler)
		}
		if route.Acts() {
			handler = in.recorder.audited(handler)
		}
		if in.conf.auditReads && route.Scope != apikey.Anyone {
			handler = in.recorder.read(route, handler)
		}
		mux.Handle(route.Pattern(), auth.Require(route, handler))
	}
	for room := range rooms {
		if !used[room] {
			return nil, fmt.Errorf("mounting the api: apikey.Routes does not say what %s asks for", room)
		}
	}
	pages, err := console.Handler(elsewhere(mux))
	if err != nil {
		return nil, err
	}
	mux.Handle("/", pages)
	return storable(registryLogin(mux)), nil
}

// storable refuses requests that name something by a zero byte, or by bytes that are
// not UTF-8: nothing has such a name, and PostgreSQL would fail at it as if it were away.
func storable(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query, err := url.QueryUnescape(r.URL.RawQuery)
		if err == nil && text.Storable(r.URL.Path) && text.Storable(query) {
			next.ServeHTTP(w, r)
			return
		}
		httpx.Write(w, httpx.Problem{Type: "invalid-request", Status: http.StatusBadRequest,
			Title: "The request is not valid", Detail: "its path and query must be UTF-8, percent-encoded, without zero bytes"})
	})
}

// roomOf returns the longest prefix of a path that has a handler.
func roomOf(rooms map[string]http.Handler, path string) (room string) {
	for begins := range rooms {
		if strings.HasPrefix(path, begins) && len(begins) > len(room) {
			room = begins
		}
	}
	return room
}

// registryLogin accepts basic authentication from registry clients: the password is the API key.
func registryLogin(next http.Handler) http.Handler {
	login := registry.WithBasicAuth(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/registry/") {
			login.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// elsewhere answers requests without a route: 405 if the path has other methods, else 404.
func elsewhere(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var allowed []string
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch,
			http.MethodDelete} {
			other := r.Clone(r.Context())
			other.Method = method
			if _, pattern := mux.Handler(other); pattern != "/" {
				allowed = append(allowed, method)
			}
		}
		if len(allowed) > 0 {
			allow := strings.Join(allowed, ", ")
			w.Header().Set("Allow", allow)
			httpx.Write(w, httpx.Problem{Type: "method-not-allowed", Status: http.StatusMethodNotAllowed,
				Title: "The method is not allowed here", Detail: "use " + allow})
			return
		}
		notFound(w, "the paths are listed in /openapi.json")
	})
}

// noEvents answers event queries when no raw store is configured.
func noEvents(w http.ResponseWriter, _ *http.Request) {
	notFound(w, "this api has no raw store: set its field raw")
}

// noDeadLetters answers dead-letter queries when no store is configured.
func noDeadLetters(w http.ResponseWriter, _ *http.Request) {
	notFound(w, "this api has no dead-letter store: set its field dead_letters")
}

func notFound(w http.ResponseWriter, detail string) {
	httpx.Write(w, httpx.Problem{Type: "not-found", Status: http.StatusNotFound, Title: "There is nothing at this path",
		Detail: detail})
}
