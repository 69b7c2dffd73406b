// Package api owns the HTTP listener for queries and administration. It mounts the REST handlers of the other rooms
// behind API keys, and emits the audit log: one message per administrative act.
package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/control/apikey"
	"weir/internal/control/oidc"
	"weir/internal/platform/conf"
	"weir/internal/platform/kafka"
	"weir/internal/platform/listen"
	"weir/internal/platform/sqldb"
	"weir/internal/platform/text"
	"weir/plugins/serve/overview"
)

var errAuditLate = errors.New("the audit log did not take an act in time; it is tried on")

func spec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Version("1.0.0").
		Categories("Services").
		Summary("Serves queries and administration over HTTP, and emits the audit log.").
		Description(`
Every request needs an API key, in `+"`X-API-Key` or `Authorization: Bearer`"+`, which has the scope that the endpoint asks for. A fleet's
key sees its own fleet; an admin key administers all of them, and names a fleet with the parameter `+"`fleet`"+` when it queries. `+"`GET /openapi.json`"+` describes all of it.

The messages of this input are the audit log, one JSON object for every request that may have changed something: who (the key's
public id), what (the path, and what of the request and the answer says it, never a secret), when, from where, and the status it was
answered with. Such a request is answered once the stream has
acknowledged its entry, or after a few seconds with the header `+"`Weir-Audit: pending`"+`. One that its key does not allow has an entry too,
as long as there are not too many of them.

### Metrics

`+"`weir_api_refusals_total{reason}`, `weir_api_tls_reload_errors_total`"+`.`).
		Field(service.NewStringField(apiFieldAddress).
			Description("The address to listen on.").
			Default("127.0.0.1:8090")).
		Field(service.NewStringField(apiFieldControl).Secret().
			Description("The SQL store of keys, schemas and the audit log: `sqlite://PATH` or `postgres://…`.").
			Example("sqlite://data/control.db")).
		Field(service.NewStringField(apiFieldRollups).Secret().
			Description("The SQL store of rollups that queries read: `sqlite://PATH` or `postgres://…`.").
			Example("sqlite://data/rollups.db")).
		Field(service.NewStringField(apiFieldRaw).Secret().
			Description("The store of raw events that queries read: `file://DIR` or `s3://BUCKET?…`. Empty: events cannot be "+
				"queried.").
			Example("file://data/raw").Default("")).
		Field(service.NewStringField(apiFieldDead).Secret().
			Description("The store of dead letters: `file://DIR` or `s3://BUCKET?…`. Empty: they cannot be queried, and the "+
				"overview cannot account for each record.").
			Example("file://data/dead-letter").Default("")).
		Field(alsoField()).
		Field(service.NewObjectField(apiFieldLog, kafka.OptionalFields("Addresses of the log's brokers. None: the overview "+
			"does not show the lag of consumer groups.")...).
			Description("The log, from which the overview reads the lag of consumer groups.")).
		Field(service.NewBloblangField(apiFieldUpcast).Optional().
			Description("The mapping of events in the rules stream, by which the lineage of a result is found.")).
		Field(oidc.ConfigField()).
		Field(service.NewBoolField(apiFieldReads).
			Description("Whether queries have entries in the audit log as well: who asked for what, when, from where. An entry "+
				"is stored before the query is answered; if that fails, the reply is 503.").
			Default(false)).
		Fields(listen.Fields()...).
		Field(limitsField()).
		Field(timeoutsField()).
		Example("Queries over local stores", "The audit log goes to a topic.", `
input:
  api:
    address: 127.0.0.1:8090
    control: sqlite://data/control.db
    rollups: sqlite://data/rollups.db
`)
}

// Register adds the room's components.
func Register(env *service.Environment) error {
	if err := env.RegisterBatchOutput("audit_log", auditSpec(), newAuditOutput); err != nil {
		return err
	}
	return env.RegisterBatchInput("api", spec(), func(conf *service.ParsedConfig,
		res *service.Resources) (service.BatchInput, error) {
		in, err := newInput(conf, res)
		if err != nil {
			return nil, err
		}
		return service.AutoRetryNacksBatched(in), nil
	})
}

type input struct {
	res      *service.Resources
	conf     config
	recorder *recorder
	refusals *refusals
	queries  *queries
	live     *overview.Live // nil until mount

	mu       sync.Mutex
	server   *http.Server
	listener *listen.Listener
	failed   chan error // the error with which the server ended
	release  []func()
}

func newInput(parsed *service.ParsedConfig, res *service.Resources) (*input, error) {
	c, err := configFromParsed(parsed)
	if err = conf.Checked(parsed, err); err != nil {
		return nil, err
	}
	in := &input{res: res, conf: c, recorder: &recorder{
		acts: make(chan pendingAct, 64), wait: 5 * time.Second,
		warn: func(err error) { res.Logger().Warnf("keeping the audit log: %v", err) },
	}}
	in.refusals = newRefusals(res.Metrics(), res.Logger(), in.recorder)
	in.queries = newQueries(c.queries, c.queriesPerFleet, in.refusals.count)
	return in, nil
}

// Connect opens the stores and the listener. It does nothing while the server runs.
func (in *input) Connect(ctx context.Context) (err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.server != nil {
		return nil
	}
	defer func() {
		if err != nil {
			in.releaseAll()
		}
	}()
	handler, err := in.mount(ctx)
	if err != nil {
		return err
	}
	return in.serve(ctx, handler)
}

// openKeys opens the key store and its cache, which Close closes.
func (in *input) openKeys(ctx context.Context, db *sqldb.DB) (*apikey.Store, *apikey.Cache, error) {
	store, err := apikey.Open(ctx, db)
	if err != nil {
		return nil, nil, err
	}
	cache, err := apikey.NewCache(ctx, store, apikey.CacheOptions{
		OnError: func(err error) { in.res.Logger().Warnf("refreshing API keys: %v", err) },
	})
	if err != nil {
		return nil, nil, err
	}
	in.release = append(in.release, cache.Close)
	return store, cache, nil
}

// callers returns the checker of API keys and, if an issuer is configured, of tokens.
func (in *input) callers(keys *apikey.Cache) (apikey.Checker, error) {
	if !in.conf.people.On() {
		return keys, nil
	}
	people, err := oidc.Beside(keys, in.conf.people, func(err error) { in.res.Logger().Warnf("%v", err) })
	if err != nil {
		return nil, err
	}
	in.release = append(in.release, people.Close)
	return people, nil
}

// ReadBatch returns the next act of the audit log. Its acknowledgement releases the request that waits for it.
func (in *input) ReadBatch(ctx context.Context) (service.MessageBatch, service.AckFunc, error) {
	in.mu.Lock()
	failed := in.failed
	in.mu.Unlock()
	if failed == nil {
		return nil, nil, service.ErrNotConnected
	}
	select {
	case p := <-in.recorder.acts:
		raw, err := text.JSON(p.act)
		if err != nil {
			p.kept <- err
			return nil, nil, fmt.Errorf("encoding an act of the audit log: %w", err)
		}
		return service.MessageBatch{service.NewMessage(raw)}, func(_ context.Context, err error) error {
			p.kept <- err
			return nil
		}, nil
	case err := <-failed:
		in.mu.Lock()
		in.server, in.failed = nil, nil
		in.releaseAll()
		in.mu.Unlock()
		in.res.Logger().Errorf("serving queries: %v", err)
		return nil, nil, service.ErrNotConnected
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
}

// Close finishes running and arriving requests as far as ctx allows, and releases the stores.
func (in *input) Close(ctx context.Context) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	var err error
	if in.server != nil {
		err = in.listener.Retire(ctx)
		if stop := in.server.Shutdown(ctx); stop != nil {
			err = errors.Join(err, stop, in.server.Close())
		}
		in.server = nil
	}
	in.releaseAll()
	return err
}

func (in *input) releaseAll() {
	for i := len(in.release) - 1; i >= 0; i-- {
		in.release[i]()
	}
	in.release = nil
}
