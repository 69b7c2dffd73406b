package api

import (
	"fmt"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/control/group"
	"weir/internal/platform/conf"
	"weir/internal/platform/listen"
)

const (
	apiFieldAddress = "address"
	apiFieldControl = "control"
	apiFieldRollups = "rollups"
	apiFieldRaw     = "raw"

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

// config is the parsed form of the fields.
type config struct {
	address, control, rollups, raw string
	listen                         listen.Config
	queries, queriesPerFleet       int
	groups                         group.Limits
	header, read, write, idle      time.Duration
}

func limitsField() *service.ConfigField {
	return service.NewObjectField(apiFieldLimits,
		service.NewIntField(apiFieldConns).Description("The most open connections. One more is closed at once.").Default(
			2000),
		service.NewIntField(apiFieldPerAddress).
			Description("The most open connections of one network address, of IPv6 of one network of 64 bits; 0 is no bound. "+
				"Set it to 0 behind a load balancer, from which all come.").Default(500),
		service.NewIntField(apiFieldQueries).
			Description("The most queries of rollups and events that are answered at a time. Above it the reply is 429, with "+
				"Retry-After.").Default(32),
		service.NewIntField(apiFieldPerFleet).Description("The most of them for one fleet.").Default(16),
		service.NewIntField(apiFieldGroups).Description(
			"The most device groups of one fleet, and of those for all. Above it the reply is 409.").
			Default(group.DefaultLimits().Groups),
		service.NewIntField(apiFieldMembers).Description("The most devices of a group.").Default(
			group.DefaultLimits().Devices),
	).Description("Bounds on what all requests together may take.").Advanced()
}

func timeoutsField() *service.ConfigField {
	return service.NewObjectField(apiFieldTimeouts,
		service.NewDurationField(apiFieldTimeoutHeader).Description("For reading the header of a request.").Default("5s"),
		service.NewDurationField(apiFieldTimeoutRead).Description("For reading a whole request, body included.").Default(
			"30s"),
		service.NewDurationField(apiFieldTimeoutWrite).
			Description("For a client to take the next 64 KiB of an answer. An answer that a client takes may last as long "+
				"as it needs.").Default("30s"),
		service.NewDurationField(apiFieldTimeoutIdle).Description(
			"How long a connection may stay open between requests.").Default("2m"),
	).Description("How long to wait.").Advanced()
}

func configFromParsed(parsed *service.ParsedConfig) (c config, err error) {
	if err = conf.Read(parsed, apiFieldAddress, &c.address, apiFieldControl, &c.control, apiFieldRollups, &c.rollups,
		apiFieldRaw, &c.raw); err != nil {
		return c, err
	}
	if c.listen, err = listen.FromParsed(parsed); err != nil {
		return c, err
	}
	if err = c.listen.Check(c.address); err != nil {
		return c, err
	}
	limits := parsed.Namespace(apiFieldLimits)
	if err = conf.Read(limits, apiFieldConns, &c.listen.Conns, apiFieldPerAddress, &c.listen.PerAddress,
		apiFieldQueries, &c.queries, apiFieldPerFleet, &c.queriesPerFleet, apiFieldGroups, &c.groups.Groups, apiFieldMembers,
		&c.groups.Devices); err != nil {
		return c, err
	}
	if c.listen.Conns < 1 || c.listen.PerAddress < 0 || c.queries < 1 || min(c.queriesPerFleet, c.groups.Groups,
		c.groups.Devices) < 1 {
		return c, fmt.Errorf("reading %s: each must be at least 1, %s at least 0", apiFieldLimits, apiFieldPerAddress)
	}
	if err = conf.Read(parsed.Namespace(apiFieldTimeouts), apiFieldTimeoutHeader, &c.header, apiFieldTimeoutRead, &c.read,
		apiFieldTimeoutWrite, &c.write, apiFieldTimeoutIdle, &c.idle); err != nil {
		return c, err
	}
	if min(c.header, c.read, c.write, c.idle) <= 0 {
		return c, fmt.Errorf("reading %s: each must be longer than zero", apiFieldTimeouts)
	}
	return c, nil
}
