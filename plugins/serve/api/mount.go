package api

import (
	"context"
	"net/http"
	"time"

	"weir/internal/control/apikey"
	"weir/internal/control/auditlog"
	"weir/internal/control/group"
	"weir/internal/control/hold"
	"weir/internal/platform/httpx"
	"weir/internal/platform/sqldb"
	"weir/plugins/ingest/registry"
	"weir/plugins/notify/alert"
	"weir/plugins/operate/erasure"
	"weir/plugins/operate/replay"
	"weir/plugins/operate/retention"
	"weir/plugins/store/lake"
	"weir/plugins/store/raw"
	"weir/plugins/store/rollup"
)

// mount opens what the rooms' REST reads, and puts each under its path, behind
// the scope it needs.
func (in *input) mount(ctx context.Context) (http.Handler, error) {
	control, err := in.open(ctx, in.control)
	if err != nil {
		return nil, err
	}
	keys, cache, err := in.openKeys(ctx, control)
	if err != nil {
		return nil, err
	}
	acts, err := auditlog.Open(ctx, control)
	if err != nil {
		return nil, err
	}
	schemas, err := registry.Open(ctx, control)
	if err != nil {
		return nil, err
	}
	holds, err := hold.Open(ctx, control)
	if err != nil {
		return nil, err
	}
	groups, err := group.Open(ctx, control)
	if err != nil {
		return nil, err
	}
	replays, err := replay.OpenStore(ctx, control)
	if err != nil {
		return nil, err
	}
	erasures, err := in.erasures(ctx, control, keys)
	if err != nil {
		return nil, err
	}
	rollupDB, err := in.open(ctx, in.rollups)
	if err != nil {
		return nil, err
	}
	rollups, err := rollup.Open(ctx, rollupDB, rollup.DefaultLimits()) // makes the tables, when a query comes first
	if err != nil {
		return nil, err
	}
	document, err := describe(ownOpenAPI, rollup.OpenAPI(), hold.OpenAPI(), retention.OpenAPI(), erasure.OpenAPI())
	if err != nil {
		return nil, err
	}
	alerts := alert.Handler(control)
	auth := &apikey.Authenticator{Keys: cache}
	query := func(h http.Handler) http.Handler { return auth.Require(apikey.Query, h) }
	admin := func(h http.Handler) http.Handler { return auth.Require(apikey.Admin, in.recorder.audited(h)) }
	// either is for what a fleet sees of its own, and an admin of all fleets.
	either := func(h http.Handler) http.Handler {
		forFleet, forAdmin := auth.Require(apikey.Query, h), auth.Require(apikey.Admin, h)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if key, err := cache.Check(r.Context(), apikey.FromRequest(r)); err == nil && key.Admin {
				forAdmin.ServeHTTP(w, r)
				return
			}
			forFleet.ServeHTTP(w, r)
		})
	}

	mux := http.NewServeMux()
	for path, handler := range map[string]http.Handler{
		"/v1/rollups":             query(group.Expanding(groups, rollup.Handler(rollups, time.Now))),
		"/v1/devices/{id}/latest": query(rollup.Handler(rollups, time.Now)),
		"/v1/keys":                admin(apikey.Handler(keys, cache.Refresh)),
		"/v1/keys/":               admin(apikey.Handler(keys, cache.Refresh)),
		"/v1/groups":              admin(group.Handler(groups)),
		"/v1/groups/":             admin(group.Handler(groups)),
		"GET /v1/groups":          either(group.Handler(groups)),
		"GET /v1/groups/":         either(group.Handler(groups)),
		"/v1/replays":             admin(replay.Handler(replays, devicesOf(groups))),
		"/v1/replays/":            admin(replay.Handler(replays, devicesOf(groups))),
		"/v1/erasures":            admin(erasures),
		"/v1/erasures/":           admin(erasures),
		"/v1/holds":               admin(hold.Handler(holds)),
		"/v1/holds/":              admin(hold.Handler(holds)),
		"/v1/retention":           admin(retention.Handler(control)),
		"/v1/audit":               admin(auditHandler(acts, time.Now)),
		"/v1/alerts":              either(alerts),
		"/v1/alerts/":             either(in.recorder.audited(alerts)),
		"/registry/":              in.registry(auth, schemas.Handler()),
		"GET /openapi.json":       serveDocument(document),
		"/":                       http.HandlerFunc(notFound),
	} {
		mux.Handle(path, handler)
	}
	if in.raw != "" {
		events, release, err := lake.Shared(ctx, in.res, in.raw)
		if err != nil {
			return nil, err
		}
		in.release = append(in.release, release)
		mux.Handle("/v1/events", query(group.Expanding(groups, raw.Handler(events, time.Now))))
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	return mux, nil
}

// open opens a SQL store until the input is closed.
func (in *input) open(ctx context.Context, url string) (*sqldb.DB, error) {
	db, release, err := sqldb.Shared(ctx, in.res, url)
	if err != nil {
		return nil, err
	}
	in.release = append(in.release, release)
	return db, nil
}

func notFound(w http.ResponseWriter, _ *http.Request) {
	httpx.Write(w, httpx.Problem{Type: "not-found", Status: http.StatusNotFound,
		Title: "There is nothing at this path", Detail: "the paths are listed in /openapi.json"})
}
