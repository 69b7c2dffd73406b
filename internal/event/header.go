package event

// Record headers: the facts that weir adds to an event travel beside it on
// Kafka, never inside its bytes. Within the engine each is metadata of the
// same name. This file owns the names.
const (
	HeaderFleet          = "weir_fleet"           // the tenant, from the API key
	HeaderReceivedAt     = "weir_received_at"     // TimeFormat, stamped once by the gate; more digits name its request
	HeaderSchema         = "weir_schema"          // subject/version: "telemetry/2"
	HeaderFlags          = "weir_flags"           // comma-separated Flag…; absent when there are none
	HeaderRegion         = "weir_region"          // where its sender is, as far as that is known: ISO 3166
	HeaderEnrichFailed   = "weir_enrich_failed"   // comma-separated names of the look-ups that failed for an event
	HeaderEnriched       = "weir_enriched"        // comma-separated NAME@VERSION of the look-ups that wrote into an event
	HeaderUnknownMetrics = "weir_unknown_metrics" // comma-separated metric names that the schema does not know
	HeaderDelivery       = "weir_delivery"        // the first delivery of a record published again; see ParseDelivery
	HeaderPatched        = "weir_patched"         // redrives only: "1" on an event that is not as its device sent it
	HeaderTarget         = "weir_target"          // replays only: comma-separated Target…; absent means all
	HeaderRequest        = "weir_request_id"      // what its request is called, if HeaderReceivedAt does not say
	HeaderTraceparent    = "traceparent"          // W3C trace context
	HeaderResult         = "weir_result_id"       // results of rules: what the result is known by
	HeaderRevision       = "weir_rule_revision"   // results of rules: the highest of an id is what is true
	HeaderRule           = "weir_rule"            // results of rules: the name of the rule
)

// Metadata that lives and dies inside one process. None of these begins with
// "weir_", which is the prefix the streams copy into record headers.
const (
	MetaVerdicts    = "local_verdicts"     // *Verdicts: those of its HTTP request
	MetaIndex       = "local_index"        // int: position in its HTTP request
	MetaDevice      = "local_device"       // device_id, the record key
	MetaOriginal    = "local_original"     // *[]byte: the event as it was validated
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

// What came of a look-up that was asked again. Nothing is said where there is none of
// that name.
const (
	EnrichedFound  = "found"
	EnrichedAbsent = "absent" // its source has nothing of the key
	EnrichedNoKey  = "no_key" // the stored event has not what the look-up goes by
	EnrichedFailed = "failed"
)

// Flags of an event.
const (
	FlagClockAhead = "clock_ahead" // stamped ahead of the server: aggregated at its received time
	FlagLate       = "late"        // older than the tolerance: corrected into its own window
)

// TimeFormat is how times are written in headers: RFC 3339, UTC, microseconds.
const TimeFormat = "2006-01-02T15:04:05.000000Z07:00"
