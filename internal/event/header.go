package event

// Record headers: what weir adds to an event travels in Kafka headers, never inside the event's bytes. Within the
// engine each is metadata of the same name.
const (
	HeaderFleet          = "weir_fleet"           // the tenant, from the API key
	HeaderReceivedAt     = "weir_received_at"     // TimeFormat, set by the gate; more digits encode the request id
	HeaderSchema         = "weir_schema"          // subject/version: "telemetry/2"
	HeaderFlags          = "weir_flags"           // comma-separated Flag…; absent when there are none
	HeaderRegion         = "weir_region"          // the sender's region as far as known: ISO 3166
	HeaderEnrichFailed   = "weir_enrich_failed"   // comma-separated names of lookups that failed
	HeaderEnriched       = "weir_enriched"        // comma-separated NAME@VERSION of lookups that changed the event
	HeaderUnknownMetrics = "weir_unknown_metrics" // comma-separated metric names that are not in the schema
	HeaderDelivery       = "weir_delivery"        // first delivery of a republished record; see ParseDelivery
	HeaderPatched        = "weir_patched"         // redrives only: "1" if the event differs from what its device sent
	HeaderTarget         = "weir_target"          // replays only: comma-separated Target…; absent means all
	HeaderRequest        = "weir_request_id"      // the request id, if it is not in HeaderReceivedAt
	HeaderTraceparent    = "traceparent"          // W3C trace context
	HeaderResult         = "weir_result_id"       // rule results: the result's id
	HeaderRevision       = "weir_rule_revision"   // rule results: of one id, the highest revision is current
	HeaderRule           = "weir_rule"            // rule results: the rule's name
)

// Metadata that never leaves the process: none begins with "weir_", the prefix that streams copy into record headers.
const (
	MetaVerdicts    = "local_verdicts"     // *Verdicts of the message's request
	MetaIndex       = "local_index"        // int: index of the event in its request
	MetaDevice      = "local_device"       // device_id, the record key
	MetaOriginal    = "local_original"     // *[]byte: the event as validated
	MetaCode        = "local_code"         // Code of a rejection
	MetaErrors      = "local_errors"       // JSON array of FieldError
	MetaAlerts      = "local_alerts"       // results of rules: set when one is an alert
	MetaDuplicateOf = "local_duplicate_of" // Coordinates of the canonical record; set means duplicate
	MetaErased      = "local_erased"       // set when it names somebody who was erased since it was received
	MetaEnrich      = "local_enrich"       // replays only: the look-up that is asked again for the event
	MetaEnriched    = "local_enriched"     // what came of that: Enriched…
	MetaUnclaimed   = "local_unclaimed"    // set when the dedupe store was down and the event passed unchecked
	MetaTurn        = "local_turn"         // *Turn: that of its batch, where several of a partition are under way
)

// Metadata that log_input and the engine's Kafka inputs set on every record.
const (
	metaTopic     = "kafka_topic"
	metaPartition = "kafka_partition"
	metaOffset    = "kafka_offset"
	metaTimestamp = "kafka_timestamp_ms"
)

// Results of a repeated lookup. MetaEnriched is absent when there is no lookup of that name.
const (
	EnrichedFound  = "found"
	EnrichedAbsent = "absent" // the source has no entry for the key
	EnrichedNoKey  = "no_key" // the stored event lacks the lookup's key
	EnrichedFailed = "failed"
)

// Flags of an event.
const (
	FlagClockAhead = "clock_ahead" // timestamp ahead of the server's clock: aggregated at its receive time
	FlagLate       = "late"        // older than the tolerance: corrects its own window
)

// TimeFormat is how times are written in headers: RFC 3339, UTC, microseconds.
const TimeFormat = "2006-01-02T15:04:05.000000Z07:00"
