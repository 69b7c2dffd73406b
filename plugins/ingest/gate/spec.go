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
			"The maximum number of events in one request. Above it the reply is 413.").Default(100),
		service.NewIntField(gateFieldMaxEvent).Description(
			"The largest event, in bytes. A larger one is rejected alone, with the code event_too_large.").Default(64<<10),
		service.NewIntField(gateFieldMaxDepth).Description(
			"How many levels of objects and arrays an event may nest, at most 64. A deeper event is rejected alone, with "+
				"the code invalid_json.").Default(32),
		service.NewIntField(gateFieldMaxMetrics).Description(
			"The maximum number of metrics of an event. One with more is rejected alone, with the code "+
				"event_too_large.").Default(256),
		service.NewIntField(gateFieldMaxString).Description(
			"The longest string or name in an event, in bytes as sent. An event with a longer one is rejected alone, with "+
				"the code event_too_large.").Default(8<<10),
		service.NewIntField(gateFieldMaxInFlight).Description(
			"The maximum number of requests that wait for their acknowledgement. Above it the reply is 429. A single fleet "+
				"can take four fifths of it.").Default(4096),
		service.NewIntField(gateFieldMaxInFlightB).Description(
			"The maximum size of the bodies that are in memory at a time, together, in bytes. Above it the reply is 429. A "+
				"single fleet can take four fifths of it.").Default(256<<20),
		service.NewIntField(gateFieldMaxHeader).Description(
			"The largest request header, in bytes. Above it the reply is 431.").Default(16<<10),
		service.NewIntField(gateFieldMaxConns).Description(
			"The maximum number of open connections. An idle one takes some 20 KB. Further ones are closed at once.").
			Default(60_000),
		service.NewIntField(gateFieldMaxConnsIP).Description(
			"The maximum number of open connections of one IPv4 address, or of one /64 network of IPv6; 0 is no limit. "+
				"Further ones are closed at once. Set it to 0 behind a load balancer, because all connections are from its "+
				"address.").Default(2500),
		service.NewIntField(gateFieldMaxDevices).
			Description("The maximum number of devices of one fleet whose events this gate has accepted within a day; 0 is "+
				"no limit. An event of a further device is rejected alone, with the code "+
				"too_many_devices.").Default(1_000_000),
	).Description("Limits of a single request, and of all requests together.").Advanced()
}

func timeoutsField() *service.ConfigField {
	return service.NewObjectField(gateFieldTimeouts,
		service.NewDurationField(gateFieldTimeoutHeader).Description("How long reading the header of a request may take. "+
			"After it the connection is closed.").Default("5s"),
		service.NewDurationField(gateFieldTimeoutRead).Description("How long reading a whole request may take, with its "+
			"body. After it the reply is 408.").Default("30s"),
		service.NewDurationField(gateFieldTimeoutAck).Description(
			"How long the stream may take to acknowledge a request. After it the reply is 503.").Default("10s"),
		service.NewDurationField(gateFieldTimeoutIdle).Description(
			"How long a connection may stay open without a request.").Default("75s"),
	).Description("Time limits.").Advanced()
}

func quotaField() *service.ConfigField {
	rate := service.NewFloatField(gateFieldQuotaRate).Description(
		"How many events a second a fleet may send; 0 is no limit.").Default(0.0)
	burst := service.NewFloatField(gateFieldQuotaBurst).Description(
		"How many events a fleet may send at once after a pause; 0 is as many as it may send in two seconds.").Default(0.0)
	return service.NewObjectField(gateFieldQuota, rate, burst,
		service.NewObjectListField(gateFieldQuotaFleets,
			service.NewStringField(gateFieldQuotaFleet).Description("The fleet."), rate, burst,
		).Description("Fleets with a quota of their own, instead of the general one.").Default([]any{}).
			Example([]any{map[string]any{gateFieldQuotaFleet: "acme", gateFieldQuotaRate: 20000}}),
	).Description("What each fleet may send. Above it the reply is 429, with Retry-After. Replies have the headers " +
		"RateLimit and RateLimit-Policy. Each gate counts only its own requests.").Advanced()
}

func pressureField() *service.ConfigField {
	return service.NewObjectField(gateFieldPressure, append(kafka.OptionalFields("The Kafka brokers. Without any, "+
		"nothing is measured, and nothing is held back."),
		service.NewStringField(gateFieldPressureTopic).Description("The topic that accepted events go to.").Default(
			"raw-events"),
		service.NewStringListField(gateFieldPressureGroups).Description(
			"The consumer groups that process the topic. The one that is furthest behind counts. One that has never "+
				"committed is behind by the whole topic.").
			Default(event.Groups()),
		service.NewStringMapField(gateFieldPressureBatching).Description(
			"How long the store of a group collects a batch, by group, such as 5s. It is for groups whose commits do not "+
				"say so (`period` of `log_input`). `weir_gate_group_behind_seconds` does not count this time, because the "+
				"records of such a batch are not behind. It has no effect on the bounds.").
			Default(map[string]any{}).Example(map[string]any{"weir-raw": "5s", "weir-rollup": "2s"}).Advanced(),
		service.NewIntField(gateFieldPressureRecords).Description("By how many records a group may be behind.").Default(
			1_000_000),
		service.NewDurationField(gateFieldPressureAge).Description(
			"How long ago the oldest record may have been written that a group has not processed. Keep it far below the "+
				"retention of the topic.").Default("15m"),
		service.NewFloatField(gateFieldPressureResume).Description(
			"The fraction of the bounds below which all requests are accepted again, from 0 to 1.").Default(0.8),
		service.NewDurationField(gateFieldPressureInterval).Description("How often to measure.").Default("1s").Advanced(),
	)...).Description("Holds events back while processing is too far behind. Above a bound, only four fifths of the " +
		"events per second that the group processes are accepted, in equal shares for the fleets, and the other requests " +
		"are answered 429. A quarter above a bound, nothing is accepted. Retry-After follows from how fast the group " +
		"is.").Advanced()
}
