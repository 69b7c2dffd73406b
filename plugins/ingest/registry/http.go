package registry

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"weir/internal/platform/httpx"
	"weir/internal/platform/text"
)

// registryMediaType is what clients of the API send and expect.
const registryMediaType = "application/vnd.schemaregistry.v1+json"

// submissionMax bounds a request's body.
const submissionMax = 1 << 20

// answer handles a request: it returns a value to be sent as JSON, or an error.
type answer func(r *http.Request) (any, error)

// plainText is a value that is sent as it is, not as JSON.
type plainText string

// Handler serves Confluent's REST API for JSON Schema, at the root of its paths: mount it with
// http.StripPrefix. It does no authentication. Beside Confluent's paths, it serves /consumers: the
// declarations of who can read which versions.
func (r *Registry) Handler() http.Handler {
	mux := http.NewServeMux()
	for path, h := range map[string]answer{
		"GET /{$}": func(*http.Request) (any, error) {
			return struct{}{}, nil
		},
		"GET /v1/metadata/id": func(*http.Request) (any, error) {
			return map[string]any{"id": "weir", "scope": map[string]any{}}, nil
		},
		"GET /contexts": func(*http.Request) (any, error) {
			return []string{"."}, nil
		},
		"GET /schemas": r.getSchemas,
		"GET /schemas/types": func(*http.Request) (any, error) {
			return []string{"JSON"}, nil
		},
		"GET /schemas/ids/{id}":                                     r.getByID,
		"GET /schemas/ids/{id}/schema":                              r.getTextByID,
		"GET /schemas/ids/{id}/subjects":                            r.getSubjectsByID,
		"GET /schemas/ids/{id}/versions":                            r.getVersionsByID,
		"GET /subjects":                                             r.getSubjects,
		"POST /subjects/{subject}":                                  r.postLookup,
		"DELETE /subjects/{subject}":                                r.deleteSubject,
		"GET /subjects/{subject}/versions":                          r.getVersions,
		"POST /subjects/{subject}/versions":                         r.postVersion,
		"GET /subjects/{subject}/versions/{version}":                r.getVersion,
		"DELETE /subjects/{subject}/versions/{version}":             r.deleteVersion,
		"GET /subjects/{subject}/versions/{version}/schema":         r.getVersionText,
		"GET /subjects/{subject}/versions/{version}/referencedby":   r.getReferencedBy,
		"POST /compatibility/subjects/{subject}/versions":           r.postCompatible,
		"POST /compatibility/subjects/{subject}/versions/{version}": r.postCompatible,
		"GET /config":              r.getConfig,
		"PUT /config":              r.putConfig,
		"DELETE /config":           r.deleteConfig,
		"GET /config/{subject}":    r.getConfig,
		"PUT /config/{subject}":    r.putConfig,
		"DELETE /config/{subject}": r.deleteConfig,
		"GET /mode":                r.getMode,
		"PUT /mode":                r.putMode,
		"DELETE /mode":             r.deleteMode,
		"GET /consumers":           r.getConsumers,
		"PUT /consumers/{name}":    r.putConsumer,
		"DELETE /consumers/{name}": r.deleteConsumer,
		"GET /mode/{subject}":      r.getMode,
		"PUT /mode/{subject}":      r.putMode,
		"DELETE /mode/{subject}":   r.deleteMode,
	} {
		mux.Handle(path, h)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if _, pattern := mux.Handler(req); pattern != "" {
			mux.ServeHTTP(w, req)
			return
		}
		status := http.StatusNotFound
		if known(mux, req) {
			status = http.StatusMethodNotAllowed
		}
		writeRegistry(w, status, map[string]any{"error_code": status, "message": "HTTP " + strconv.Itoa(status) + " " +
			http.StatusText(status)})
	})
}

// WithBasicAuth accepts API keys from clients that know only basic authentication: as the password,
// with any user name. Wrap it around the handler that checks keys.
func WithBasicAuth(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if _, password, ok := req.BasicAuth(); ok && req.Header.Get("X-Api-Key") == "" {
			req = req.Clone(req.Context())
			req.Header.Set("X-Api-Key", password)
			req.Header.Del("Authorization")
		}
		next.ServeHTTP(w, req)
	})
}

// known tells whether the path is served for another method.
func known(mux *http.ServeMux, req *http.Request) bool {
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
		other := req.Clone(req.Context())
		other.Method = method
		if _, pattern := mux.Handler(other); pattern != "" {
			return true
		}
	}
	return false
}

func (a answer) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	req.Body = http.MaxBytesReader(w, req.Body, submissionMax)
	value, err := a(req)
	if err == nil {
		writeRegistry(w, http.StatusOK, value)
		return
	}
	e, ok := isAPIError(err)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		e = &apiError{http.StatusUnprocessableEntity, 42209, "Schema is too large"}
	case !ok: // the store: its error may name hosts and paths
		httpx.Cause(w, err)
		e = &apiError{http.StatusInternalServerError, 50001, "Error in the backend data store; try again"}
	}
	writeRegistry(w, e.status, map[string]any{"error_code": e.code, "message": e.message})
}

func writeRegistry(w http.ResponseWriter, status int, value any) {
	if text, ok := value.(plainText); ok {
		w.Header().Set("Content-Type", registryMediaType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, string(text))
		return
	}
	raw, err := text.JSON(value)
	if err != nil { // cannot fail: values of this package
		httpx.Cause(w, err)
		status, raw = http.StatusInternalServerError, []byte(`{"error_code":500,"message":"encoding the answer"}`)
	}
	w.Header().Set("Content-Type", registryMediaType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(raw)
}

// body reads a request's JSON. Unknown members are ignored: clients send more than this registry
// uses.
func body(req *http.Request, into any) error {
	raw, err := io.ReadAll(req.Body)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text.WithoutBOM(raw), into); err != nil {
		return fails(http.StatusBadRequest, http.StatusBadRequest, "Unreadable request: %v", err)
	}
	return nil
}

func flag(req *http.Request, name string) bool {
	return strings.EqualFold(req.URL.Query().Get(name), "true")
}

// page returns the part of a list that offset and limit ask for.
func page[T any](req *http.Request, list []T) []T {
	if n, err := strconv.Atoi(req.URL.Query().Get("offset")); err == nil && n > 0 {
		list = list[min(n, len(list)):]
	}
	if n, err := strconv.Atoi(req.URL.Query().Get("limit")); err == nil && n >= 0 {
		list = list[:min(n, len(list))]
	}
	return list
}

func deletedOf(req *http.Request) deletedFilter {
	switch {
	case flag(req, "deletedOnly"):
		return onlyDeleted
	case flag(req, "deleted"):
		return withDeleted
	}
	return withoutDeleted
}

// number returns the version in the path; -1 is the latest.
func number(req *http.Request) (int, error) {
	version := req.PathValue("version")
	if version == "latest" {
		return -1, nil
	}
	n, err := strconv.ParseInt(version, 10, 32)
	if err != nil || n < 1 && n != -1 {
		return 0, fails(http.StatusUnprocessableEntity, 42202,
			"The specified version '%s' is not a valid version id. Allowed values are between [1, 2^31-1] and the string "+
				"\"latest\"", text.Shorten(version))
	}
	return int(n), nil
}

// pick finds a version in those of a subject, which are in order; a negative number is the latest.
func pick(versions []storedVersion, subject string, number int) (storedVersion, error) {
	if len(versions) == 0 {
		return storedVersion{}, subjectNotFound(subject)
	}
	if number < 0 {
		return versions[len(versions)-1], nil
	}
	for _, v := range versions {
		if v.Version == number {
			return v, nil
		}
	}
	return storedVersion{}, versionNotFound(number)
}
