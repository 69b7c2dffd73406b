package raw

import (
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/platform/rawjson"
	"weir/internal/platform/text"
	"weir/plugins/store/lake"
)

// Row is one event as it is stored: what its device sent, and what weir knows about it.
// Strings and slices share memory with what they were read from.
type Row struct {
	ID          [16]byte
	Fleet       string
	Device      string
	Firmware    string
	Time        int64  // the event's timestamp, microseconds since 1970
	TimeText    string // as sent, when the column cannot give it back; else ""
	At          int64  // the effective time (event.At), microseconds since 1970
	ReceivedAt  int64  // microseconds since 1970; 0 when unknown
	Schema      string
	Flags       string
	Metrics     []event.Metric // Raw is nil in rows that were read from a store
	Diagnostics []byte         // JSON object, or nil
	Extra       []byte         // JSON object of the fields that no schema names, or nil
	AsSent      []byte         // JSON object of texts that the typed columns cannot give back, or nil
	Unknown     string         // metrics that the schema does not know, comma-separated
	Record      event.Coordinates
	Delivery    event.Coordinates // differs from Record when the event was published again
	// EnrichFailed lists the look-ups that failed for the event, comma-separated.
	EnrichFailed string
	// Enriched lists the look-ups that wrote into the event, comma-separated: NAME@VERSION.
	Enriched string
	// Later holds the later facts about the event, if the reader asked for them.
	Later []*Later
}

// noRecord stands for the coordinates of an event that came from no log.
var noRecord = event.Coordinates{Partition: -1, Offset: -1}

// fill sets the row from an event, its message, and its place in the log. A zero received
// time means that it is unknown when the event was received.
func (r *Row) fill(e *event.Event, msg *service.Message, in *place, received time.Time) {
	flags := event.Meta(msg, event.HeaderFlags)
	known := !received.IsZero()
	at := e.Time
	if known {
		at = e.At(received, event.HasFlag(flags, event.FlagClockAhead))
	}
	*r = Row{
		ID: e.UUID, Fleet: event.FleetOf(msg), Device: e.Device, Firmware: e.Firmware,
		Time: e.Time.UnixMicro(), At: lake.Clamp(at).UnixMicro(),
		Schema: event.Meta(msg, event.HeaderSchema), Flags: flags,
		Metrics: e.Metrics, Diagnostics: e.Diagnostics,
		Unknown: event.Meta(msg, event.HeaderUnknownMetrics), EnrichFailed: event.Meta(msg, event.HeaderEnrichFailed),
		Enriched: event.Meta(msg, event.HeaderEnriched),
	}
	if known {
		r.ReceivedAt = received.UnixMicro()
	}
	if !isTimeText(e.TimeText, e.Time) {
		r.TimeText = e.TimeText
	}
	if len(e.Extra) > 0 {
		r.Extra = fieldsOf(e.Extra)
	}
	r.AsSent = asSent(e)
	if r.Record, r.Delivery = in.record, in.delivery; !in.logged {
		r.Record, r.Delivery = noRecord, noRecord
	}
}

// fieldsOf returns the fields as a JSON object, in memory of its own.
func fieldsOf(fields []event.Field) []byte {
	size := 2
	for i := range fields {
		size += len(`"":,`) + len(fields[i].Name) + len(fields[i].Raw)
	}
	b := append(make([]byte, 0, size), '{') // names with escapes may need more
	for i, f := range fields {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(rawjson.AppendString(b, f.Name), ':')
		b = append(b, f.Raw...)
	}
	return append(b, '}')
}

// asSent returns a JSON object of the texts that the typed columns would change, such as
// an event_id in capitals or a metric with more digits than a double holds; nil if there
// are none.
func asSent(e *event.Event) []byte {
	var b []byte
	if !isUUIDText(e.ID, e.UUID) {
		b = append(b, `{"event_id":"`...)
		b = append(append(b, e.ID...), '"')
	}
	open := false
	for _, m := range e.Metrics {
		if exact(m.Raw, m.Value) {
			continue
		}
		switch {
		case open:
			b = append(b, ',')
		case b == nil:
			b = append(b, `{"metrics":{`...)
		default:
			b = append(b, `,"metrics":{`...)
		}
		open = true
		b = append(rawjson.AppendString(b, m.Name), ':')
		b = append(b, m.Raw...)
	}
	if open {
		b = append(b, '}')
	}
	if b != nil {
		b = append(b, '}')
	}
	return b
}

// AppendJSON appends the event as its device sent it, except for the order of fields,
// white space, and the notation of numbers that are equal.
func (r *Row) AppendJSON(b []byte) ([]byte, error) {
	id, numbers, err := r.sent()
	if err != nil {
		return b, err
	}
	b = append(b, `{"event_id":"`...)
	if id != "" {
		b = append(b, id...)
	} else {
		b = text.AppendUUID(b, r.ID)
	}
	b = append(append(b, `","device_id":"`...), r.Device...)
	b = rawjson.AppendString(append(b, `","device_firmware_version":`...), r.Firmware)
	b = append(b, `,"timestamp":"`...)
	if r.TimeText != "" {
		b = append(b, r.TimeText...)
	} else {
		b = appendTimeText(b, time.UnixMicro(r.Time))
	}
	b = append(b, `","metrics":{`...)
	for i, m := range r.Metrics {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(rawjson.AppendString(b, m.Name), ':')
		if raw, ok := numbers[m.Name]; ok {
			b = append(b, raw...)
		} else {
			b = appendNumber(b, m.Value)
		}
	}
	b = append(b, '}')
	if r.Diagnostics != nil {
		b = append(append(b, `,"diagnostics":`...), r.Diagnostics...)
	}
	if len(r.Extra) > 2 { // more than {}
		b = append(append(b, ','), r.Extra[1:len(r.Extra)-1]...)
	}
	return append(b, '}'), nil
}
