package api

import (
	"errors"
	"time"

	"github.com/redpanda-data/benthos/v4/public/bloblang"
	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/control/group"
	"weir/internal/control/oidc"
	"weir/internal/platform/conf"
	"weir/internal/platform/kafka"
	"weir/internal/platform/listen"
	"weir/internal/platform/sqldb"
	"weir/plugins/store/lake"
)

const (
	apiFieldAddress = "address"
	apiFieldControl = "control"
	apiFieldRollups = "rollups"
	apiFieldRaw     = "raw"
	apiFieldDead    = "dead_letters"
	apiFieldLog     = "log"
	apiFieldAlso    = "also"
	apiFieldUpcast  = "upcast"

	apiFieldReads = "audit_reads"

	apiFieldLimits     = "limits"
	apiFieldConns      = "max_connections"
	apiFieldPerAddress = "max_connections_per_address"
	apiFieldQueries    = "max_queries"
	apiFieldPerFleet   = "max_queries_per_fleet"
	apiFieldGroups     = "max_groups_per_fleet"
	apiFieldMembers    = "max_devices_per_group"

	apiFieldTimeouts      = "timeouts"
	apiFieldTimeoutHeader = "read_header"
	apiFieldTimeoutRead   = "read_request"
	apiFieldTimeoutWrite  = "write"
	apiFieldTimeoutIdle   = "idle"
)

// config holds the parsed fields.
type config struct {
	address, control, rollups, raw string
	deadLetters                    string
	also                           []alsoKept
	log                            kafka.Cluster // if unset, the overview lacks the log
	listen                         listen.Config
	people                         oidc.Config
	auditReads                     bool
	upcast                         *bloblang.Executor // the mapping of events in the rules stream; nil: none
	queries, queriesPerFleet       int
	groups                         group.Limits
	header, read, write, idle      time.Duration
}

func limitsField() *service.ConfigField {
	return service.NewObjectField(apiFieldLimits,
		service.NewIntField(apiFieldConns).Description("The maximum number of open connections. Further ones are closed "+
			"at once.").Default(2000),
		service.NewIntField(apiFieldPerAddress).
			Description("The maximum number of open connections of one IPv4 address, or of one /64 network of IPv6; 0 is no "+
				"limit. Further ones are closed at once. Set it to 0 behind a load balancer, because all connections are from "+
				"its address.").Default(500),
		service.NewIntField(apiFieldQueries).
			Description("The maximum number of queries of rollups and events that are answered at a time. Above it the "+
				"reply is 429, with Retry-After.").Default(32),
		service.NewIntField(apiFieldPerFleet).Description("The maximum number of them for one fleet.").Default(16),
		service.NewIntField(apiFieldGroups).Description(
			"The maximum number of device groups of one fleet, and of shared groups. Above it the reply is 409.").
			Default(group.DefaultLimits().Groups),
		service.NewIntField(apiFieldMembers).Description("The maximum number of devices of a group.").Default(
			group.DefaultLimits().Devices),
	).Description("Limits of all requests together.").Advanced()
}

func timeoutsField() *service.ConfigField {
	return service.NewObjectField(apiFieldTimeouts,
		service.NewDurationField(apiFieldTimeoutHeader).Description("How long reading the header of a "+
			"request may take. After it the connection is closed.").Default("5s"),
		service.NewDurationField(apiFieldTimeoutRead).Description("How long reading a whole request may take, with its "+
			"body.").Default("30s"),
		service.NewDurationField(apiFieldTimeoutWrite).
			Description("How long a client may take to receive the next 64 KiB of an answer. The time of the whole answer "+
				"is "+
				"not limited.").Default("30s"),
		service.NewDurationField(apiFieldTimeoutIdle).Description(
			"How long a connection may stay open without a request.").Default("2m"),
	).Description("Time limits.").Advanced()
}

func configFromParsed(parsed *service.ParsedConfig) (c config, err error) {
	if err = conf.Read(parsed, apiFieldAddress, &c.address, apiFieldControl, sqldb.URL(&c.control),
		apiFieldRollups, sqldb.URL(&c.rollups), apiFieldRaw, lake.MaybeURL(&c.raw),
		apiFieldDead, lake.MaybeURL(&c.deadLetters), apiFieldReads, &c.auditReads); err != nil {
		return c, err
	}
	if c.also, err = alsoFromParsed(parsed); err != nil {
		return c, err
	}
	if c.log, err = kafka.FromParsed(parsed.Namespace(apiFieldLog)); err != nil && !errors.Is(err, kafka.ErrNoBroker) {
		return c, err
	}
	if parsed.Contains(apiFieldUpcast) {
		if c.upcast, err = parsed.FieldBloblang(apiFieldUpcast); err != nil {
			return c, err
		}
	}
	if c.people, err = oidc.FromParsed(parsed); err != nil {
		return c, err
	}
	if c.listen, err = listen.FromParsed(parsed); err != nil {
		return c, err
	}
	if err = c.listen.Check(c.address); err != nil {
		return c, err
	}
	const limits, timeouts = apiFieldLimits + ".", apiFieldTimeouts + "."
	return c, conf.Read(parsed,
		limits+apiFieldConns, conf.Positive(&c.listen.Conns), limits+apiFieldPerAddress,
		conf.NotNegative(&c.listen.PerAddress),
		limits+apiFieldQueries, conf.Positive(&c.queries), limits+apiFieldPerFleet, conf.Positive(&c.queriesPerFleet),
		limits+apiFieldGroups, conf.Positive(&c.groups.Groups), limits+apiFieldMembers, conf.Positive(&c.groups.Devices),
		timeouts+apiFieldTimeoutHeader, conf.Positive(&c.header), timeouts+apiFieldTimeoutRead, conf.Positive(&c.read),
		timeouts+apiFieldTimeoutWrite, conf.Positive(&c.write), timeouts+apiFieldTimeoutIdle, conf.Positive(&c.idle))
}
