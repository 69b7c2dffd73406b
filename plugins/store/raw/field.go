package raw

import (
	"time"

	"weir/internal/event"
	"weir/internal/platform/rawjson"
	"weir/internal/platform/text"
)

// field is one member of an event in the answer of GET /v1/events.
type field struct {
	name   string
	byHand bool // only included when the request names it
	// append appends the JSON value, or nothing when the event has none.
	append func(b []byte, r *Row, metric string) ([]byte, error)
}

// fields lists what an answer can include, in order. Fields that no schema names are
// nested in "extra", so what a device sends cannot collide with a name of ours.
func fields() []field {
	plain := func(name string, get func(*Row) string) field {
		return field{name: name, append: func(b []byte, r *Row, _ string) ([]byte, error) {
			if s := get(r); s != "" {
				b = rawjson.AppendString(b, s)
			}
			return b, nil
		}}
	}
	object := func(name string, get func(*Row) []byte) field {
		return field{name: name, append: func(b []byte, r *Row, _ string) ([]byte, error) {
			return append(b, get(r)...), nil
		}}
	}
	list := func(name string, get func(*Row) string) field {
		return field{name: name, append: func(b []byte, r *Row, _ string) ([]byte, error) {
			return appendList(b, get(r)), nil
		}}
	}
	return []field{
		{name: "event_id", append: func(b []byte, r *Row, _ string) ([]byte, error) {
			return append(text.AppendUUID(append(b, '"'), r.ID), '"'), nil
		}},
		plain("device_id", func(r *Row) string { return r.Device }),
		plain("device_firmware_version", func(r *Row) string { return r.Firmware }),
		{name: "timestamp", append: func(b []byte, r *Row, _ string) ([]byte, error) { return appendStamp(b, r.Time), nil }},
		{name: "effective_time", append: func(b []byte, r *Row, _ string) ([]byte, error) {
			if r.At == r.Time {
				return b, nil
			}
			return appendStamp(b, r.At), nil
		}},
		{name: "received_at", append: func(b []byte, r *Row, _ string) ([]byte, error) {
			if r.ReceivedAt == 0 {
				return b, nil
			}
			return appendStamp(b, r.ReceivedAt), nil
		}},
		plain("schema", func(r *Row) string { return r.Schema }),
		list("flags", func(r *Row) string { return r.Flags }),
		{name: "metrics", append: appendMetrics},
		list("unknown_metrics", func(r *Row) string { return r.Unknown }),
		list("enrich_failed", func(r *Row) string { return r.EnrichFailed }),
		{name: "enriched", byHand: true, append: func(b []byte, r *Row, _ string) ([]byte, error) {
			return appendList(b, r.Enriched), nil
		}},
		{name: laterField, byHand: true, append: appendLater},
		object("diagnostics", func(r *Row) []byte { return r.Diagnostics }),
		object("extra", func(r *Row) []byte { return r.Extra }),
		{name: "coordinates", byHand: true, append: func(b []byte, r *Row, _ string) ([]byte, error) {
			if r.Delivery == noRecord {
				return b, nil
			}
			return rawjson.AppendString(b, r.Delivery.String()), nil
		}},
		{name: "event", byHand: true, append: func(b []byte, r *Row, _ string) ([]byte, error) { return r.AppendJSON(b) }},
	}
}

func appendStamp(b []byte, micros int64) []byte {
	return append(appendTimeText(append(b, '"'), time.UnixMicro(micros)), '"')
}

// appendList appends a comma-separated list as a JSON array; nothing when it is empty.
func appendList(b []byte, items string) []byte {
	if items == "" {
		return b
	}
	b = append(b, '[')
	for i, item := range event.Items(items) {
		if i > 0 {
			b = append(b, ',')
		}
		b = rawjson.AppendString(b, item)
	}
	return append(b, ']')
}

// appendMetrics appends the readings as an object; only one of them when the query
// names a metric.
func appendMetrics(b []byte, r *Row, metric string) ([]byte, error) {
	b = append(b, '{')
	first := true
	for _, m := range r.Metrics {
		if metric != "" && m.Name != metric {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(rawjson.AppendString(b, m.Name), ':')
		b = appendNumber(b, m.Value)
	}
	return append(b, '}'), nil
}
