package api

import (
	"context"
	"errors"
	"net/http"

	"weir/internal/control/status"
	"weir/internal/control/streamconf"
	"weir/internal/platform/httpx"
	"weir/internal/platform/sqldb"
)

// streamConfigsHandler serves the versions of stream configs:
//
//	GET  /v1/stream-configs                              all, with those in force and those that run
//	GET  /v1/stream-configs/{stream}/{version}           one, with its text and its tests
//	POST /v1/stream-configs/{stream}/{version}/activate  0 is the file of each process
//	POST /v1/stream-configs/{stream}/rollback
//
// A config is a program, so none can be put over HTTP.
func streamConfigsHandler(ctx context.Context, db *sqldb.DB) (http.Handler, error) {
	kept, err := streamconf.Open(ctx, db)
	if err != nil {
		return nil, err
	}
	runs, err := status.Open(ctx, db)
	if err != nil {
		return nil, err
	}
	h := streamConfigs{kept, runs}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/stream-configs", h.list)
	mux.HandleFunc("GET /v1/stream-configs/{stream}/{version}", h.get)
	mux.HandleFunc("POST /v1/stream-configs/{stream}/{version}/activate", h.activate)
	mux.HandleFunc("POST /v1/stream-configs/{stream}/rollback", h.rollback)
	return mux, nil
}

type streamConfigs struct {
	kept *streamconf.Store
	runs *status.Store
}

func (h streamConfigs) list(w http.ResponseWriter, r *http.Request) {
	list, err := h.kept.List(r.Context())
	active, err2 := h.kept.Active(r.Context())
	rows, err3 := h.runs.List(r.Context())
	h.answer(w, map[string]any{"active": active, "versions": list, "processes": status.Configs(rows)},
		errors.Join(err, err2, err3))
}

func (h streamConfigs) get(w http.ResponseWriter, r *http.Request) {
	if number, ok := versionNumber(w, r); ok {
		v, err := h.kept.Get(r.Context(), r.PathValue("stream"), number)
		h.answer(w, v, err)
	}
}

func (h streamConfigs) activate(w http.ResponseWriter, r *http.Request) {
	if number, ok := versionNumber(w, r); ok {
		a, err := h.kept.Activate(r.Context(), r.PathValue("stream"), number, actor(r))
		h.answer(w, a, err)
	}
}

func (h streamConfigs) rollback(w http.ResponseWriter, r *http.Request) {
	a, err := h.kept.Rollback(r.Context(), r.PathValue("stream"), actor(r))
	h.answer(w, a, err)
}

func (h streamConfigs) answer(w http.ResponseWriter, body any, err error) {
	switch {
	case err == nil:
		httpx.Answer(w, http.StatusOK, body)
	case errors.Is(err, streamconf.ErrNoVersion):
		httpx.NotFound(w, err.Error())
	case errors.Is(err, streamconf.ErrNoneBefore):
		httpx.Write(w, nothingBefore(err))
	default:
		httpx.Unavailable(w, "the store of configs", err)
	}
}
