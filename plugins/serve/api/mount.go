package api

import (
	"context"
	"net/http"
	"time"

	"weir/internal/control/apikey"
	"weir/internal/control/auditlog"
	"weir/internal/control/block"
	"weir/internal/control/consent"
	"weir/internal/control/etlrun"
	"weir/internal/control/group"
	"weir/internal/control/hold"
	"weir/internal/control/identity"
	"weir/internal/event"
	"weir/internal/platform/httpx"
	"weir/internal/platform/sqldb"
	"weir/plugins/ingest/registry"
	"weir/plugins/ingest/validate"
	"weir/plugins/notify/alert"
	"weir/plugins/operate/erasure"
	"weir/plugins/operate/quality"
	"weir/plugins/operate/reconcile"
	"weir/plugins/operate/replay"
	"weir/plugins/operate/retention"
	"weir/plugins/process/rule"
	"weir/plugins/serve/analytics"
	"weir/plugins/serve/overview"
	"weir/plugins/store/deadletter"
	"weir/plugins/store/lake"
	"weir/plugins/store/raw"
	"weir/plugins/store/rollup"
)

// mount opens the stores that the handlers read, and mounts each handler behind the requirements of apikey.Routes.
func (in *input) mount(ctx context.Context) (http.Handler, error) {
	control, err := in.open(ctx, in.conf.control)
	if err != nil {
		return nil, err
	}
	keys, cache, err := in.openKeys(ctx, control)
	if err != nil {
		return nil, err
	}
	callers, err := in.callers(cache)
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
	runs, err := etlrun.Open(ctx, control)
	if err != nil {
		return nil, err
	}
	consents, err := consent.Open(ctx, control)
	if err != nil {
		return nil, err
	}
	blocks, err := block.Open(ctx, control)
	if err != nil {
		return nil, err
	}
	identities, err := identity.Open(ctx, control)
	if err != nil {
		return nil, err
	}
	groups, err := group.Open(ctx, control)
	if err != nil {
		return nil, err
	}
	groups = groups.Within(in.conf.groups)
	replays, err := replay.OpenStore(ctx, control)
	if err != nil {
		return nil, err
	}
	erasures, err := in.erasures(ctx, control, keys)
	if err != nil {
		return nil, err
	}
	rollupDB, err := in.open(ctx, in.conf.rollups)
	if err != nil {
		return nil, err
	}
	rollups, err := rollup.Open(ctx, rollupDB, rollup.DefaultLimits()) // creates the tables if needed
	if err != nil {
		return nil, err
	}
	events, err := in.openLake(ctx, in.conf.raw)
	if err != nil {
		return nil, err
	}
	letters, err := in.openLake(ctx, in.conf.deadLetters)
	if err != nil {
		return nil, err
	}
	logs, err := in.openAlso(ctx, events, letters)
	if err != nil {
		return nil, err
	}
	stored := map[string]replay.Stored{}
	for _, k := range logs {
		if stored[k.log.Name], err = replay.OpenStored(ctx, k.log.Name, k.events, k.letters, control); err != nil {
			return nil, err
		}
	}
	proofs := map[string]*reconcile.Proofs{}
	for _, k := range logs {
		if proofs[k.log.Name], err = reconcile.OpenProofs(ctx, control, k.log.Name); err != nil {
			return nil, err
		}
	}
	directory := rollup.NewDirectory(rollupDB)
	in.release = append(in.release, directory.Close)
	glance, err := in.overview(ctx, control, rollupDB, directory, proofs[event.LogTelemetry])
	if err != nil {
		return nil, err
	}
	in.live = &overview.Live{Sampler: glance, Keys: callers, Refresh: cache.Refresh}
	goodness, err := quality.Open(ctx, control)
	if err != nil {
		return nil, err
	}
	document, err := describe(ownOpenAPI, registryOpenAPI, rollup.OpenAPI(), hold.OpenAPI(), retention.OpenAPI(),
		consent.OpenAPI(), block.OpenAPI(), identity.OpenAPI(), erasure.OpenAPI(), reconcile.OpenAPI(),
		overview.OpenAPI(), deadletter.OpenAPI(), validate.OpenAPI(), analytics.OpenAPI(), quality.OpenAPI(),
		etlrun.OpenAPI())
	if err != nil {
		return nil, err
	}
	versions, err := ruleVersionsHandler(ctx, control)
	if err != nil {
		return nil, err
	}
	configs, err := streamConfigsHandler(ctx, control)
	if err != nil {
		return nil, err
	}
	sums, err := analytics.Open(ctx, control)
	if err != nil {
		return nil, err
	}
	erased, err := erasure.OpenStore(ctx, control)
	if err != nil {
		return nil, err
	}
	rooms := map[string]http.Handler{
		"/v1/analytics/":    analytics.Handler(sums, time.Now, erased),
		"/v1/topology":      overview.TopologyHandler(glance),
		"/v1/live":          in.live,
		"/v1/rollups":       group.Expanding(groups, rollup.Handler(rollups, time.Now)),
		"/v1/devices":       rollup.DevicesHandler(directory, openAlerts(control), time.Now),
		"/v1/devices/":      rollup.Handler(rollups, time.Now),
		"/v1/keys":          apikey.Handler(keys, cache.Refresh),
		"/v1/me":            apikey.MeHandler(keys, namesOf(logs)),
		"/v1/groups":        group.Handler(groups),
		"/v1/replays":       replay.Handler(replays, devicesOf(groups), stored),
		"/v1/erasures":      erasures,
		"/v1/holds":         hold.Handler(holds),
		"/v1/blocks":        block.Handler(blocks),
		"/v1/consent":       consent.Handler(consents),
		"/v1/identity":      identity.Handler(identities),
		"/v1/retention":     retention.Handler(control),
		"/v1/audit":         auditHandler(acts, time.Now),
		"/v1/schemas":       validate.DryRunHandler(schemas, nil),
		"/v1/alerts":        alert.Handler(control),
		"/v1/rules/":        rulesHandler(control, in.forRules(events), time.Now),
		"/registry/":        http.StripPrefix("/registry", schemas.Handler()),
		"/openapi.json":     serveDocument(document),
		"/v1/rule-versions": versions,
		"/v1/quality":       quality.Handler(goodness, time.Now),
		"/healthz": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNoContent)
		}),
	}
	rooms["/v1/stream-configs"] = configs
	rooms["/v1/etl/"] = etlrun.Handler(runs)
	if events != nil {
		rooms["/v1/schemas"] = validate.DryRunHandler(schemas, newestOf(events, time.Now))
	}
	at := byLog{}
	for _, k := range logs {
		outcomes, err := deadletter.OpenOutcomes(ctx, control, k.log.Name)
		if err != nil {
			return nil, err
		}
		at.put("/v1/dead-letters/dry-run", k, replay.TryHandler(stored[k.log.Name],
			func(ctx context.Context) (*registry.Set, error) {
				return registry.LoadSet(ctx, registry.Place{URL: in.conf.control}, k.log.Subject)
			}, time.Now))
		if k.events != nil {
			at.put("/v1/events", k, group.Expanding(groups, raw.Handler(k.events, time.Now)))
			forRules := in.forRules(k.events)
			at.put("/v1/events/{id}/lineage", k, &lineage{events: k.events, letters: k.letters, outcomes: outcomes,
				now: time.Now, slots: httpx.NewSlots(lineages, lineageMost),
				rules: func(ctx context.Context, e rule.Happened) ([]rule.Bearing, error) {
					return rule.BearsOn(ctx, control, e, forRules)
				},
				alerts: func(ctx context.Context, fleet, id string) ([]alert.Mention, error) {
					return alert.Of(ctx, control, fleet, id)
				}})
		}
		if k.letters != nil {
			at.put("/v1/dead-letters", k, deadletter.Handler(k.letters, outcomes, time.Now))
			at.put("/v1/dead-letters/{id}/release", k, replay.ReleaseHandler(replays, k.log.Name, k.letters, control, time.Now))
		}
		at.put("/v1/proof", k, reconcile.Handler(proofs[k.log.Name], time.Now))
		look := glance
		if k.log.Name != event.LogTelemetry {
			if look, err = in.overviewOf(k, proofs[k.log.Name]); err != nil {
				return nil, err
			}
		}
		at.put("/v1/overview", k, overview.Handler(look))
	}
	at.into(rooms)
	return in.routed(&apikey.Authenticator{Keys: callers, Refused: in.refusals.refused}, rooms)
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

// openLake opens an object store until the input is closed; nil when url is empty.
func (in *input) openLake(ctx context.Context, url string) (*lake.Store, error) {
	if url == "" {
		return nil, nil
	}
	store, release, err := lake.Shared(ctx, in.res, url)
	if err != nil {
		return nil, err
	}
	in.release = append(in.release, release)
	return store, nil
}
