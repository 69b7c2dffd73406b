package gate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/control/apikey"
	"weir/internal/control/oidc"
	"weir/internal/event"
	"weir/internal/platform/flow"
	"weir/internal/platform/geo"
	"weir/internal/platform/sqldb"
	"weir/internal/platform/trace"
	"weir/plugins/ingest/gate/admission"
)

// gate is the input: it hands the batches of its listeners to the engine, and
// the engine's acknowledgements back. It holds no event that was answered with
// success; a crash loses only what no client was told to be safe.
type gate struct {
	conf    config
	res     *service.Resources
	log     *service.Logger
	metrics *metrics
	trace   *trace.Provider
	admit   *admission.Admission
	decode  *decoders
	streams *streams

	failureLogged, dropLogged atomic.Int64

	witness *event.Witness // whether an output records what it writes to the log

	queue    chan *submission // to ReadBatch, unbuffered: requests that are a batch of their own
	line     *line            // small requests, which share batches
	next     *submission      // ReadBatch's own: taken from the queue and not handed on yet
	patience *time.Timer      // ReadBatch's own
	waits    sync.Pool        // *wait
	replies  sync.Pool        // *[]byte

	mu       sync.Mutex
	server   *server
	grpc     *grpcServer
	keys     *apikey.Cache
	checker  apikey.Checker // the same
	needs    apikey.Scope   // scope that a key must have for every endpoint of events
	people   *oidc.People   // nil: only keys are accepted
	devices  *devices
	refused  *flow.Burst        // logs refusals of keys
	unsure   *flow.Burst        // logs keys that could not be checked
	release  func()             // releases the key store
	geo      *geo.File          // nil: regions are not looked up
	monitor  *admission.Monitor // nil: the backlog is not measured
	failed   chan error         // error of a listener that has died
	ready    readiness
	leaving  atomic.Bool   // the process was told to end: requests are still served, and clients are sent elsewhere
	signals  func()        // stops watching for signals
	draining chan struct{} // closed when the engine stops reading
	closed   chan struct{} // closed when no acknowledgement can come any more
	drain    func()
	finish   func()

	closeDecoders func()
}

func newGate(conf config, res *service.Resources) (*gate, error) {
	decode, err := newDecoders(conf.limits.body)
	if err != nil {
		return nil, err
	}
	g := &gate{
		conf: conf, res: res, log: res.Logger(), metrics: newMetrics(res.Metrics()), trace: trace.Of(res),
		decode: decode, queue: make(chan *submission), line: newLine(), witness: event.WitnessOf(res),
		failed:   make(chan error, 1),
		draining: make(chan struct{}), closed: make(chan struct{}),
	}
	g.needs = apikey.ScopeOf(apikey.Gate, "POST", "/v1/events")
	g.devices = newDevices(conf.limits.devices)
	g.refused = flow.NewBurst(time.Second, func(text string) { g.log.Warn(text) })
	g.unsure = flow.NewBursts(time.Second, unsurePerSec, func(text string) { g.log.Warn(text) })
	g.streams = newStreams(g.metrics)
	g.admit = admission.New(admission.Limits{Requests: conf.limits.inFlight, Bytes: conf.limits.inFlightB}, conf.quotas,
		flow.Of(res))
	g.closeDecoders = sync.OnceFunc(decode.close)
	g.drain = sync.OnceFunc(func() {
		close(g.draining)
		g.line.close(stopping())
	})
	g.finish = sync.OnceFunc(func() { close(g.closed) })
	return g, nil
}

// Connect opens the key store and starts to listen.
func (g *gate) Connect(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.keys == nil {
		if err := g.openKeys(ctx); err != nil {
			return err
		}
	}
	if err := g.openGeo(); err != nil {
		return err
	}
	g.metrics.start(g.admit.InFlight)
	if g.monitor == nil && g.conf.pressure != nil {
		var err error
		if g.monitor, err = admission.StartMonitor(*g.conf.pressure, g.admit.Measured, g.log, g.res.Metrics()); err != nil {
			return err
		}
	}
	if err := g.closeListeners(ctx); err != nil { // left from before a failure
		g.log.Warnf("closing a listener that failed: %v", err)
	}
	srv, err := listenHTTP(ctx, g)
	if err != nil {
		return err
	}
	if g.conf.grpcAddress != "" {
		if g.grpc, err = listenGRPC(ctx, g); err != nil {
			return errors.Join(err, srv.stop(ctx))
		}
	}
	g.server = srv
	g.watchSignals()
	g.log.Infof("taking events at %s/v1/events", srv.url)
	return nil
}

func (g *gate) openKeys(ctx context.Context) error {
	db, release, err := sqldb.Shared(ctx, g.res, g.conf.keys)
	if err != nil {
		return err
	}
	store, err := apikey.Open(ctx, db)
	if err == nil {
		g.keys, err = apikey.NewCache(ctx, store, apikey.CacheOptions{
			Refresh: g.conf.keyRefresh,
			OnError: func(err error) {
				g.metrics.keyErrors.Incr(1)
				g.log.Warnf("known API keys keep working, new and revoked ones are not noticed: %v", err)
			},
		})
	}
	if err != nil {
		release()
		return err
	}
	g.release, g.checker = release, g.keys
	if !g.conf.people.On() {
		return nil
	}
	g.people, err = oidc.Beside(g.keys, g.conf.people, func(err error) { g.log.Warnf("%v", err) })
	if err != nil {
		g.keys.Close()
		release()
		g.keys = nil
		return err
	}
	g.checker = g.people
	return nil
}

// ReadBatch returns the next request's events as one batch, or those of several
// small requests that wait at the same time.
func (g *gate) ReadBatch(ctx context.Context) (service.MessageBatch, service.AckFunc, error) {
	for {
		if sub := g.next; sub != nil {
			g.next = nil
			return sub.batch, sub.ack, nil
		}
		select {
		case sub := <-g.queue:
			return sub.batch, sub.ack, nil
		case <-g.line.ready:
			g.gather(ctx)
			if batch, ack := g.share(); len(batch) > 0 {
				return batch, ack, nil
			}
		case err := <-g.failed:
			g.log.Errorf("the listener failed and will be opened again: %v", err)
			return nil, nil, service.ErrNotConnected
		case <-ctx.Done():
			g.drain()
			return nil, nil, ctx.Err()
		}
	}
}

// Close answers the requests that still wait, and returns when every connection is done or the
// context ends, at most after ten seconds. The engine calls it after the last acknowledgement.
func (g *gate) Close(ctx context.Context) error {
	g.drain()
	g.finish()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.signals != nil {
		g.signals()
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err := g.closeListeners(ctx)
	select {
	case <-g.streams.close():
	case <-ctx.Done():
		err = errors.Join(err, errors.New("closing the gate: a stream does not end"))
	}
	if g.monitor != nil {
		g.monitor.Close()
		g.monitor = nil
	}
	if g.geo != nil {
		g.geo.Close() // requests that still run may use it until here
	}
	if g.people != nil {
		g.people.Close()
		g.people = nil
	}
	if g.keys != nil {
		g.keys.Close()
		g.release()
		g.keys = nil
	}
	g.closeDecoders()
	g.metrics.stop()
	return err
}

// closeListeners stops listening and waits for running requests, until ctx ends.
func (g *gate) closeListeners(ctx context.Context) (err error) {
	if g.server != nil {
		if err = g.server.stop(ctx); err != nil {
			err = fmt.Errorf("closing the gate: %w", err)
		}
		g.server = nil
	}
	if g.grpc != nil {
		g.grpc.stop(ctx)
		g.grpc = nil
	}
	return err
}

// errClientGone says that nobody waits for the answer any more.
var errClientGone = errors.New("the client has gone")

var _ service.BatchInput = (*gate)(nil)
