package gate

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/control/apikey"
	"weir/internal/control/oidc"
	"weir/internal/platform/conf"
	"weir/internal/platform/kafka"
	"weir/internal/platform/listen"
	"weir/internal/platform/rawjson"
	"weir/internal/platform/sqldb"
	"weir/plugins/ingest/gate/admission"
)

// config is the parsed form of the fields.
type config struct {
	address     string
	grpcAddress string // "": no gRPC
	keys        string
	keyRefresh  time.Duration
	gather      time.Duration // 0: small requests share only what waits at the same time
	limits      limits
	timeouts    timeouts
	quotas      admission.Quotas
	pressure    *admission.Measurement // nil: not measured
	listen      listen.Config
	regions     *regions // nil: regions are not looked up
	people      oidc.Config
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

func configFromParsed(parsed *service.ParsedConfig) (c config, err error) {
	l, t := &c.limits, &c.timeouts
	in := func(object, name string) string { return object + "." + name }
	if err := conf.Read(parsed,
		gateFieldAddress, &c.address, gateFieldGRPC, &c.grpcAddress, gateFieldKeys, sqldb.URL(&c.keys),
		gateFieldKeyRefresh, conf.Positive(&c.keyRefresh), gateFieldGather, conf.NotNegative(&c.gather), gateFieldUnwritten,
		&c.unwritten,
		in(gateFieldLimits, gateFieldMaxBody), conf.Positive(&l.body),
		in(gateFieldLimits, gateFieldMaxBatch), conf.Positive(&l.batch),
		in(gateFieldLimits, gateFieldMaxEvent), conf.Positive(&l.event),
		in(gateFieldLimits, gateFieldMaxDepth), conf.Between(&l.depth, 1, rawjson.MaxDepth),
		in(gateFieldLimits, gateFieldMaxMetrics), conf.Positive(&l.metrics),
		in(gateFieldLimits, gateFieldMaxString), conf.Positive(&l.text),
		in(gateFieldLimits, gateFieldMaxDevices), conf.NotNegative(&l.devices),
		in(gateFieldLimits, gateFieldMaxInFlight), conf.Positive(&l.inFlight),
		in(gateFieldLimits, gateFieldMaxInFlightB), conf.Positive(&l.inFlightB),
		in(gateFieldLimits, gateFieldMaxHeader), conf.Positive(&l.header),
		in(gateFieldTimeouts, gateFieldTimeoutHeader), conf.Positive(&t.header),
		in(gateFieldTimeouts, gateFieldTimeoutRead), conf.Positive(&t.read),
		in(gateFieldTimeouts, gateFieldTimeoutAck), conf.Positive(&t.ack),
		in(gateFieldTimeouts, gateFieldTimeoutIdle), conf.Positive(&t.idle)); err != nil {
		return c, err
	}
	if l.inFlightB < l.body {
		return c, fmt.Errorf("reading the gate's limits: %s must be at least %s, or no body of that size could ever come in",
			gateFieldMaxInFlightB, gateFieldMaxBody)
	}
	if c.quotas, err = readQuotas(parsed); err != nil {
		return c, err
	}
	if c.pressure, err = readPressure(parsed.Namespace(gateFieldPressure)); err != nil {
		return c, err
	}
	if c.regions, err = readRegions(parsed); err != nil {
		return c, err
	}
	if c.people, err = oidc.FromParsed(parsed); err != nil {
		return c, err
	}
	if c.listen, err = listen.FromParsed(parsed); err != nil {
		return c, err
	}
	if err := conf.Read(parsed, in(gateFieldLimits, gateFieldMaxConns), conf.Positive(&c.listen.Conns),
		in(gateFieldLimits, gateFieldMaxConnsIP), conf.NotNegative(&c.listen.PerAddress)); err != nil {
		return c, err
	}
	return c, errors.Join(c.listen.Check(c.address), c.listen.Check(c.grpcAddress))
}

func readQuotas(parsed *service.ParsedConfig) (q admission.Quotas, err error) {
	q.Named = map[string]admission.Quota{}
	if q.All, err = readQuota(parsed.Namespace(gateFieldQuota)); err != nil {
		return q, err
	}
	list, err := parsed.FieldObjectList(gateFieldQuota, gateFieldQuotaFleets)
	if err != nil {
		return q, err
	}
	for _, own := range list {
		var fleet string
		if err := conf.Read(own, gateFieldQuotaFleet, &fleet); err != nil {
			return q, err
		}
		if q.Named[fleet], err = readQuota(own); err != nil {
			return q, err
		}
		if err := apikey.ValidFleet(fleet); err != nil {
			return q, err
		}
	}
	return q, nil
}

func readQuota(parsed *service.ParsedConfig) (q admission.Quota, err error) {
	err = conf.Read(parsed, gateFieldQuotaRate, conf.NotNegative(&q.Rate), gateFieldQuotaBurst, conf.NotNegative(&q.Burst))
	if q.Burst == 0 {
		q.Burst = 2 * q.Rate
	}
	return q, err
}

// readPressure returns nil if no broker is configured: then the backlog is not measured.
func readPressure(parsed *service.ParsedConfig) (*admission.Measurement, error) {
	cluster, err := kafka.FromParsed(parsed)
	if errors.Is(err, kafka.ErrNoBroker) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	p := &admission.Measurement{Cluster: cluster}
	if err := conf.Read(parsed, gateFieldPressureTopic, &p.Topic, gateFieldPressureInterval, conf.Positive(&p.Interval),
		gateFieldPressureRecords, conf.Positive(&p.Bounds.Records), gateFieldPressureAge, conf.Positive(&p.Bounds.Age),
		gateFieldPressureResume, conf.Positive(&p.Bounds.Resume), gateFieldPressureGroups, &p.Groups); err != nil {
		return nil, err
	}
	if p.Batching, err = readBatching(parsed, p.Groups); err != nil {
		return nil, err
	}
	switch {
	case len(p.Groups) == 0:
		return nil, errors.New("backpressure needs at least one group to measure")
	case p.Bounds.Resume >= 1:
		return nil, fmt.Errorf("%s must lie between 0 and 1", gateFieldPressureResume)
	}
	return p, nil
}

// readBatching reads how long the stores of groups gather their batches.
func readBatching(parsed *service.ParsedConfig, groups []string) (map[string]time.Duration, error) {
	var texts map[string]string
	if err := conf.Read(parsed, gateFieldPressureBatching, &texts); err != nil {
		return nil, err
	}
	periods := map[string]time.Duration{}
	for group, text := range texts {
		period, err := time.ParseDuration(text)
		switch {
		case err != nil || period < 0:
			return nil, fmt.Errorf("reading field %s: %s is %q, expected a duration such as 5s", gateFieldPressureBatching,
				group, text)
		case !slices.Contains(groups, group):
			return nil, fmt.Errorf("reading field %s: %s is none of the groups that are measured: %s",
				gateFieldPressureBatching, group, strings.Join(groups, ", "))
		}
		periods[group] = period
	}
	return periods, nil
}
