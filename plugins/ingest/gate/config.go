package gate

import (
	"errors"
	"fmt"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/control/apikey"
	"weir/internal/platform/kafka"
	"weir/internal/platform/listen"
	"weir/internal/platform/rawjson"
	"weir/plugins/ingest/gate/admission"
)

// config is the parsed form of the fields.
type config struct {
	address     string
	grpcAddress string // "": no gRPC
	keys        string
	keyRefresh  time.Duration
	gather      time.Duration // 0: small requests share what waits anyway
	limits      limits
	timeouts    timeouts
	quotas      admission.Quotas
	pressure    *admission.Measurement // nil: not measured
	listen      listen.Config
	unwritten   bool // accept events that event_log has not written
}

type limits struct {
	body, batch, event          int
	depth, metrics, text        int
	devices                     int // of a fleet; 0: no bound
	inFlight, inFlightB, header int
}

type timeouts struct {
	header, read, ack, idle time.Duration
}

// fields reads fields one after the other and keeps the first error.
type fields struct {
	conf *service.ParsedConfig
	err  error
}

func (f *fields) text(path ...string) string {
	v, err := f.conf.FieldString(path...)
	f.keep(err)
	return v
}

func (f *fields) duration(path ...string) time.Duration {
	v, err := f.conf.FieldDuration(path...)
	if err == nil && v <= 0 {
		err = fmt.Errorf("%v must be longer than zero", path)
	}
	f.keep(err)
	return v
}

// pause is a duration that may be zero.
func (f *fields) pause(path ...string) time.Duration {
	v, err := f.conf.FieldDuration(path...)
	if err == nil && v < 0 {
		err = fmt.Errorf("%v must not be negative", path)
	}
	f.keep(err)
	return v
}

func (f *fields) atLeast(least int, path ...string) int {
	v, err := f.conf.FieldInt(path...)
	if err == nil && v < least {
		err = fmt.Errorf("%v must be at least %d", path, least)
	}
	f.keep(err)
	return v
}

func (f *fields) number(path ...string) float64 {
	v, err := f.conf.FieldFloat(path...)
	if err == nil && !(v >= 0) {
		err = fmt.Errorf("%v must not be negative", path)
	}
	f.keep(err)
	return v
}

func (f *fields) keep(err error) {
	if f.err == nil {
		f.err = err
	}
}

func configFromParsed(conf *service.ParsedConfig) (config, error) {
	f := &fields{conf: conf}
	limit := func(name string) int { return f.atLeast(1, gateFieldLimits, name) }
	c := config{
		address:     f.text(gateFieldAddress),
		grpcAddress: f.text(gateFieldGRPC),
		keys:        f.text(gateFieldKeys),
		keyRefresh:  f.duration(gateFieldKeyRefresh),
		gather:      f.pause(gateFieldGather),
		limits: limits{
			body: limit(gateFieldMaxBody), batch: limit(gateFieldMaxBatch), event: limit(gateFieldMaxEvent),
			depth: limit(gateFieldMaxDepth), metrics: limit(gateFieldMaxMetrics), text: limit(gateFieldMaxString),
			devices:  f.atLeast(0, gateFieldLimits, gateFieldMaxDevices),
			inFlight: limit(gateFieldMaxInFlight), inFlightB: limit(gateFieldMaxInFlightB), header: limit(gateFieldMaxHeader),
		},
		timeouts: timeouts{
			header: f.duration(gateFieldTimeouts, gateFieldTimeoutHeader),
			read:   f.duration(gateFieldTimeouts, gateFieldTimeoutRead),
			ack:    f.duration(gateFieldTimeouts, gateFieldTimeoutAck),
			idle:   f.duration(gateFieldTimeouts, gateFieldTimeoutIdle),
		},
		quotas:   f.quotas(),
		pressure: f.pressure(),
	}
	var err error
	c.listen, err = listen.FromParsed(conf)
	f.keep(err)
	c.listen.Conns, c.listen.PerAddress = limit(gateFieldMaxConns), f.atLeast(0, gateFieldLimits, gateFieldMaxConnsIP)
	c.unwritten, err = conf.FieldBool(gateFieldUnwritten)
	f.keep(err)
	if c.limits.depth > rawjson.MaxDepth {
		f.keep(fmt.Errorf("%s must be at most %d", gateFieldMaxDepth, rawjson.MaxDepth))
	}
	if c.limits.inFlightB < c.limits.body {
		f.keep(fmt.Errorf("%s must be at least %s, or no body of that size could ever come in", gateFieldMaxInFlightB, gateFieldMaxBody))
	}
	for _, address := range []string{c.address, c.grpcAddress} {
		f.keep(c.listen.Check(address))
	}
	return c, f.err
}

func (f *fields) quotas() admission.Quotas {
	q := admission.Quotas{All: f.quota(gateFieldQuota), Named: map[string]admission.Quota{}}
	list, err := f.conf.FieldObjectList(gateFieldQuota, gateFieldQuotaFleets)
	f.keep(err)
	for _, conf := range list {
		own := &fields{conf: conf}
		name := own.text(gateFieldQuotaFleet)
		q.Named[name] = own.quota()
		f.keep(own.err)
		f.keep(apikey.ValidFleet(name))
	}
	return q
}

func (f *fields) quota(path ...string) admission.Quota {
	q := admission.Quota{Rate: f.number(append(path, gateFieldQuotaRate)...), Burst: f.number(append(path, gateFieldQuotaBurst)...)}
	if q.Burst == 0 {
		q.Burst = 2 * q.Rate
	}
	return q
}

func (f *fields) pressure() *admission.Measurement {
	cluster, err := kafka.FromParsed(f.conf.Namespace(gateFieldPressure))
	if errors.Is(err, kafka.ErrNoBroker) {
		return nil
	}
	f.keep(err)
	p := &admission.Measurement{
		Cluster:  cluster,
		Topic:    f.text(gateFieldPressure, gateFieldPressureTopic),
		Interval: f.duration(gateFieldPressure, gateFieldPressureInterval),
		Bounds: admission.Bounds{
			Records: f.atLeast(1, gateFieldPressure, gateFieldPressureRecords),
			Age:     f.duration(gateFieldPressure, gateFieldPressureAge),
			Resume:  f.number(gateFieldPressure, gateFieldPressureResume),
		},
	}
	if p.Groups, err = f.conf.FieldStringList(gateFieldPressure, gateFieldPressureGroups); err == nil && len(p.Groups) == 0 {
		err = errors.New("backpressure needs at least one group to measure")
	}
	f.keep(err)
	if p.Bounds.Resume >= 1 || p.Bounds.Resume <= 0 {
		f.keep(fmt.Errorf("%s must lie between 0 and 1", gateFieldPressureResume))
	}
	return p
}
