// Package gate is the input for devices' events. It takes requests by HTTP, WebSocket and gRPC,
// checks their keys, splits them into events, and answers each request only after the stream has
// made its events durable.
package gate

import (
	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/control/oidc"
	"weir/internal/platform/conf"
	"weir/internal/platform/listen"
)

const (
	gateFieldAddress    = "address"
	gateFieldGRPC       = "grpc_address"
	gateFieldKeys       = "keys"
	gateFieldKeyRefresh = "key_refresh"
	gateFieldGather     = "gather"

	gateFieldLimits       = "limits"
	gateFieldMaxBody      = "max_body_bytes"
	gateFieldMaxBatch     = "max_batch_events"
	gateFieldMaxEvent     = "max_event_bytes"
	gateFieldMaxDepth     = "max_depth"
	gateFieldMaxMetrics   = "max_metrics"
	gateFieldMaxString    = "max_string_bytes"
	gateFieldMaxInFlight  = "max_in_flight_requests"
	gateFieldMaxInFlightB = "max_in_flight_bytes"
	gateFieldMaxHeader    = "max_header_bytes"
	gateFieldMaxConns     = "max_connections"
	gateFieldMaxDevices   = "max_devices_per_fleet"
	gateFieldMaxConnsIP   = "max_connections_per_address"

	gateFieldTimeouts      = "timeouts"
	gateFieldTimeoutHeader = "read_header"
	gateFieldTimeoutRead   = "read_request"
	gateFieldTimeoutAck    = "ack"
	gateFieldTimeoutIdle   = "idle"

	gateFieldQuota       = "quota"
	gateFieldQuotaRate   = "events_per_second"
	gateFieldQuotaBurst  = "burst"
	gateFieldQuotaFleets = "fleets"
	gateFieldQuotaFleet  = "fleet"

	gateFieldPressure         = "backpressure"
	gateFieldPressureTopic    = "topic"
	gateFieldPressureGroups   = "groups"
	gateFieldPressureBatching = "batching"
	gateFieldPressureRecords  = "max_records"
	gateFieldPressureAge      = "max_age"
	gateFieldPressureResume   = "resume_ratio"
	gateFieldPressureInterval = "interval"

	gateFieldUnwritten = "acknowledge_unwritten"
)

// Register registers the components of this package.
func Register(env *service.Environment) error {
	return env.RegisterBatchInput("gate", inputSpec(), func(parsed *service.ParsedConfig,
		res *service.Resources) (service.BatchInput, error) {
		c, err := configFromParsed(parsed)
		if err = conf.Checked(parsed, err); err != nil {
			return nil, err
		}
		return newGate(c, res)
	})
}

func inputSpec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Version("0.1.0").
		Categories("Services").
		Summary("Takes events from devices over HTTP, and answers when they are durable.").
		Description(`
`+"`POST /v1/events`"+` takes one event, an array or lines of them, with an API key in `+"`X-API-Key`"+` or
`+"`Authorization: Bearer`"+`. One request becomes one batch, with one message for each event, of the bytes
that were sent; small requests that wait at the same time share a batch. The reply is sent when the stream has acknowledged the batch, with a verdict for each event:
202 when all were accepted, 207 when some were, 400 when none was. When the stream fails the batch, or does not
acknowledge it in time, the reply is 503 with Retry-After, and the device sends again: its event_id makes that safe.

`+"`GET /v1/stream`"+` is the same as a WebSocket: each message is a body, and is answered by one message. Instead of
answering 429, the gate stops reading. gRPC (`+"`weir.v1.Ingest`"+`) works in the same way. The contract of the HTTP side is served at `+"`/openapi.json`"+`.

`+"`GET /healthz`"+` answers 200 while the gate runs. `+"`GET /ready`"+` answers 503, with the reason, once the gate has accepted nothing for ten seconds because the log
cannot be written or processing is too far behind: for load balancers that have another gate to send devices to.
Until then only devices are told, by 429 or 503 with Retry-After.

An event is rejected, alone, when a processor of the stream marks it as bad data (see `+"`schema_validate`"+`) and the
stream routes it to the dead letters with the processor `+"`dead_letter`"+`. An event that a processor dropped is stored nowhere, though the
engine acknowledges it: it is rejected as well, because `+"`event_log`"+` reports to the gate what it has written. If no stream of the process has
that output, the gate cannot tell, and the event counts as accepted.

### Metadata

`+"`weir_fleet`"+` (the key's fleet), `+"`weir_received_at`"+`, `+"`local_index`"+` (the event's place in its request),
`+"`local_verdicts`"+` (where its verdict goes), `+"`traceparent`"+` when the request had a valid one, and `+"`weir_region`"+` where `+"`geo`"+` knows it. No other header of a request is copied.`).
		Field(service.NewStringField(gateFieldAddress).
			Description("Where to listen, as host:port.").
			Default("127.0.0.1:8080")).
		Field(service.NewStringField(gateFieldGRPC).
			Description("Where to listen for gRPC (`weir.v1.Ingest`), as host:port; empty is nowhere.").
			Default("")).
		Field(service.NewStringField(gateFieldKeys).Secret().
			Description("The SQL store of API keys, as `sqlite://PATH` or `postgres://…`. Make keys with `weir keys create`.").
			Example("sqlite://data/control.db").
			Example("postgres://weir:${PASSWORD}@db/weir")).
		Field(service.NewDurationField(gateFieldKeyRefresh).
			Description("How often the store is asked whether keys have changed. A revoked key stops working within this "+
				"time.").
			Default("30s").Advanced()).
		Field(service.NewDurationField(gateFieldGather).
			Description("How long a small request may wait for others that are being received, so that they share a batch. "+
				"With 0s, only requests that wait at the same time anyway share one. A request that is alone never waits.").
			Default("2ms").Advanced()).
		Field(limitsField()).
		Field(timeoutsField()).
		Field(quotaField()).
		Field(pressureField()).
		Field(geoField()).
		Field(oidc.ConfigField()).
		Fields(listen.Fields()...).
		Field(service.NewBoolField(gateFieldUnwritten).
			Description("Whether to answer 202 for an event that the stream acknowledged but `event_log` has not written. "+
				"Set it if an output beside `event_log` takes some of the events, or if devices are not to know which events "+
				"your processors drop.").
			Default(false).Advanced()).
		Example("From devices to the log", "Accepted events go to Kafka; bad data goes to the dead letters with its reason.", `
input:
  gate:
    address: 127.0.0.1:8080
    keys: sqlite://data/control.db
    quota:
      events_per_second: 5000
    backpressure:
      seed_brokers: [ 127.0.0.1:9092 ]
      topic: raw-events
      groups: [ weir-raw, weir-rollup ]

pipeline:
  processors:
    - schema_validate:
        url: file://schemas

output:
  event_log:
    seed_brokers: [ 127.0.0.1:9092 ]
    topic: raw-events
    dead_letter:
      topic: dead-letter
      processors:
        - dead_letter:
            stage: ingest
`)
}
