package gate

import (
	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/platform/kafka"
)

func limitsField() *service.ConfigField {
	return service.NewObjectField(gateFieldLimits,
		service.NewIntField(gateFieldMaxBody).Description(
			"The largest body, in bytes, before and after decompression. Above it the reply is 413.").Default(1<<20),
		service.NewIntField(gateFieldMaxBatch).Description(
			"The most events of one request. Above it the reply is 413.").Default(100),
		service.NewIntField(gateFieldMaxEvent).Description(
			"The largest event, in bytes. A larger one is rejected alone, with the code event_too_large.").Default(64<<10),
		service.NewIntField(gateFieldMaxDepth).Description(
			"How many levels of objects and arrays an event may nest; 64 is the most. A deeper one is rejected alone, with "+
				"the code invalid_json.").Default(32),
		service.NewIntField(gateFieldMaxMetrics).Description(
			"The most metrics of an event. One with more is rejected alone, with the code event_too_large.").Default(256),
		service.NewIntField(gateFieldMaxString).Description(
			"The longest string or name in an event, in bytes as sent. An event with a longer one is rejected alone, with "+
				"the code event_too_large.").Default(8<<10),
		service.NewIntField(gateFieldMaxInFlight).Description(
			"The most requests that wait for their acknowledgement. Above it the reply is 429. One fleet alone can take four "+
				"fifths.").Default(4096),
		service.NewIntField(gateFieldMaxInFlightB).Description(
			"The most bytes of bodies that are held at a time. Above it the reply is 429. One fleet alone can take four "+
				"fifths.").Default(256<<20),
		service.NewIntField(gateFieldMaxHeader).Description(
			"The largest request header, in bytes. Above it the reply is 431.").Default(16<<10),
		service.NewIntField(gateFieldMaxConns).Description(
			"The most open connections, which take some 20 KB each while they are idle. One more is closed at once.").
			Default(60_000),
		service.NewIntField(gateFieldMaxConnsIP).Description(
			"The most open connections of one network address, of IPv6 of one network of 64 bits; 0 is no bound. Set it to 0 "+
				"behind a load balancer, from which all come.").Default(2500),
		service.NewIntField(gateFieldMaxDevices).
			Description("The most devices of one fleet, as this gate has heard of them within a day; 0 is no bound. "+
				"An event of one more is rejected alone, with the code too_many_devices.").Default(1_000_000),
	).Description("Bounds on what one request, and all of them together, may take.").Advanced()
}

func timeoutsField() *service.ConfigField {
	return service.NewObjectField(gateFieldTimeouts,
		service.NewDurationField(gateFieldTimeoutHeader).Description("For reading the header of a request.").Default("5s"),
		service.NewDurationField(gateFieldTimeoutRead).Description("For reading a whole request, body included.").Default(
			"30s"),
		service.NewDurationField(gateFieldTimeoutAck).Description(
			"For the stream to acknowledge a request. After it the reply is 503.").Default("10s"),
		service.NewDurationField(gateFieldTimeoutIdle).Description(
			"How long a connection may stay open between requests.").Default("75s"),
	).Description("How long to wait.").Advanced()
}

func quotaField() *service.ConfigField {
	rate := service.NewFloatField(gateFieldQuotaRate).Description(
		"How many events a second a fleet may send; 0 is no bound.").Default(0.0)
	burst := service.NewFloatField(gateFieldQuotaBurst).Description(
		"How many events a fleet may send at once after a pause; 0 is two seconds' worth.").Default(0.0)
	return service.NewObjectField(gateFieldQuota, rate, burst,
		service.NewObjectListField(gateFieldQuotaFleets,
			service.NewStringField(gateFieldQuotaFleet).Description("The fleet."), rate, burst,
		).Description("Fleets with a quota of their own.").Default([]any{}).
			Example([]any{map[string]any{gateFieldQuotaFleet: "acme", gateFieldQuotaRate: 20000}}),
	).Description("What each fleet may send. Above it the reply is 429, with Retry-After; replies carry RateLimit and " +
		"RateLimit-Policy. Each gate counts for itself.").Advanced()
}

func pressureField() *service.ConfigField {
	return service.NewObjectField(gateFieldPressure, append(kafka.OptionalFields("The Kafka brokers. Without any, "+
		"nothing is measured."),
		service.NewStringField(gateFieldPressureTopic).Description("The topic that accepted events go to.").Default(
			"raw-events"),
		service.NewStringListField(gateFieldPressureGroups).Description(
			"The consumer groups that process it. The one furthest behind counts; one that has never committed has all of it "+
				"before it.").
			Default(event.Groups()),
		service.NewStringMapField(gateFieldPressureBatching).Description(
			"For how long the store of a group gathers a batch, where its commits do not say so (`period` of `log_input`): "+
				"what it holds so is not behind, and left out of `weir_gate_group_behind_seconds`. The bounds do not look at "+
				"it.").
			Default(map[string]any{}).Example(map[string]any{"weir-raw": "5s", "weir-rollup": "2s"}).Advanced(),
		service.NewIntField(gateFieldPressureRecords).Description("How many records a group may be behind.").Default(
			1_000_000),
		service.NewDurationField(gateFieldPressureAge).Description(
			"How old the oldest record may be that a group has not processed. Keep it far below the retention of the "+
				"topic.").Default("15m"),
		service.NewFloatField(gateFieldPressureResume).Description(
			"The part of the bounds below which everything is taken again.").Default(0.8),
		service.NewDurationField(gateFieldPressureInterval).Description("How often to measure.").Default("1s").Advanced(),
	)...).Description("Holds events back while processing is too far behind: above a bound, fleets are let in at four " +
		"fifths of the measured drain, in equal shares, " +
		"and the rest is answered 429; a quarter above it, nothing is taken. Retry-After follows from the drain.").Advanced()
}
