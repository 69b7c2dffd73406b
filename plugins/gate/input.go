// Package gate is where devices' events enter: it takes HTTP requests in,
// checks their keys, cuts them into events, and answers each only after the
// stream has made them durable.
package gate

import (
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
)

const (
	gateFieldAddress    = "address"
	gateFieldKeys       = "keys"
	gateFieldKeyRefresh = "key_refresh"

	gateFieldLimits       = "limits"
	gateFieldMaxBody      = "max_body_bytes"
	gateFieldMaxBatch     = "max_batch_events"
	gateFieldMaxEvent     = "max_event_bytes"
	gateFieldMaxInFlight  = "max_in_flight_requests"
	gateFieldMaxInFlightB = "max_in_flight_bytes"
	gateFieldMaxHeader    = "max_header_bytes"

	gateFieldTimeouts      = "timeouts"
	gateFieldTimeoutHeader = "read_header"
	gateFieldTimeoutRead   = "read_request"
	gateFieldTimeoutAck    = "ack"
	gateFieldTimeoutIdle   = "idle"
)

// Register adds the room's components.
func Register(env *service.Environment) error {
	return env.RegisterBatchInput("gate", inputSpec(), func(conf *service.ParsedConfig, res *service.Resources) (service.BatchInput, error) {
		c, err := configFromParsed(conf)
		if err != nil {
			return nil, err
		}
		return newGate(c, res), nil
	})
}

func inputSpec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Version("0.1.0").
		Categories("Services").
		Summary("Takes events from devices over HTTP, and answers when they are durable.").
		Description(`
`+"`POST /v1/events`"+` takes one event, an array or lines of them, with an API key in `+"`X-API-Key`"+` or
`+"`Authorization: Bearer`"+`. One request becomes one batch of messages, one for each event, whose bytes are those
that were sent. The reply is sent when the stream has acknowledged the batch, with a verdict for each event:
202 when all were accepted, 207 when some were, 400 when none was. When the stream fails the batch, or does not
acknowledge it in time, the reply is 503 with Retry-After, and the device sends again: its event_id makes that safe.

An event is rejected, alone, when a processor of the stream marks it as bad data (see `+"`schema_validate`"+`) and the
stream routes it to the dead letters with the processor `+"`dead_letter`"+`.

### Metadata

`+"`weir_fleet`"+` (the key's fleet), `+"`weir_received_at`"+`, `+"`local_index`"+` (the event's place in its request), and
`+"`traceparent`"+` when the request had a valid one. No other header of a request is copied.`).
		Field(service.NewStringField(gateFieldAddress).
			Description("Where to listen, as host:port.").
			Default("127.0.0.1:8080")).
		Field(service.NewStringField(gateFieldKeys).
			Description("The SQL store of API keys, as `sqlite://PATH` or `postgres://…`. Make keys with `weir keys create`.").
			Example("sqlite://data/control.db").
			Example("postgres://weir:${PASSWORD}@db/weir")).
		Field(service.NewDurationField(gateFieldKeyRefresh).
			Description("A key that is revoked stops working within this time.").
			Default("30s").Advanced()).
		Field(service.NewObjectField(gateFieldLimits,
			service.NewIntField(gateFieldMaxBody).Description("The largest body, in bytes, after decompression. Above it the reply is 413.").Default(1<<20),
			service.NewIntField(gateFieldMaxBatch).Description("The most events of one request. Above it the reply is 413.").Default(100),
			service.NewIntField(gateFieldMaxEvent).Description("The largest event, in bytes. A larger one is rejected alone, with the code event_too_large.").Default(64<<10),
			service.NewIntField(gateFieldMaxInFlight).Description("The most requests that wait for their acknowledgement. Above it the reply is 429.").Default(4096),
			service.NewIntField(gateFieldMaxInFlightB).Description("The most bytes of bodies that are held at a time. Above it the reply is 429.").Default(256<<20),
			service.NewIntField(gateFieldMaxHeader).Description("The largest request header, in bytes. Above it the reply is 431.").Default(16<<10),
		).Description("Bounds on what one request, and all of them together, may take.").Advanced()).
		Field(service.NewObjectField(gateFieldTimeouts,
			service.NewDurationField(gateFieldTimeoutHeader).Description("For reading the header of a request.").Default("5s"),
			service.NewDurationField(gateFieldTimeoutRead).Description("For reading a whole request, body included.").Default("30s"),
			service.NewDurationField(gateFieldTimeoutAck).Description("For the stream to acknowledge a request. After it the reply is 503.").Default("10s"),
			service.NewDurationField(gateFieldTimeoutIdle).Description("How long a connection may stay open between requests.").Default("75s"),
		).Description("How long to wait.").Advanced()).
		Example("From devices to the log", "Accepted events go to Kafka; bad data goes to the dead letters with its reason.", `
input:
  gate:
    address: 127.0.0.1:8080
    keys: sqlite://data/control.db

output:
  fallback:
    - reject_errored:
        kafka_franz:
          seed_brokers: [ 127.0.0.1:9092 ]
          topic: raw-events
    - reject: ${! error() }
`)
}

// config is the parsed form of the fields above.
type config struct {
	address    string
	keys       string
	keyRefresh time.Duration
	limits     limits
	timeouts   timeouts
}

type limits struct {
	body, batch, event          int
	inFlight, inFlightB, header int
}

type timeouts struct {
	header, read, ack, idle time.Duration
}
