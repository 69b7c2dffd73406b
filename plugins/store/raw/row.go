package raw

import (
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/platform/rawjson"
	"weir/internal/platform/text"
	"weir/plugins/store/lake"
)

// Row is one event as it is stored: what its device sent and what weir knows
// about it. Strings and slices share memory with what they were read from.
type Row struct {
	ID          [16]byte
	Fleet       string
	Device      string
	Firmware    string
	Time        int64  // the event's timestamp, microseconds since 1970
	TimeText    string // as sent, when timeText(Time) is not the same; else ""
	At          int64  // the time it counts at (event.At), microseconds since 1970
	ReceivedAt  int64  // microseconds since 1970; 0 when unknown
	Schema      string
	Flags       string
	Metrics     []event.Metric // Raw is nil when it is read from a store
	Diagnostics []byte         // JSON object, or nil
	Extra       []byte         // JSON object of the fields that no schema names, or nil
	AsSent      []byte         // JSON object of texts that the columns cannot give back, or nil
	Unknown     string         // comma-separated metrics that the schema does not know
	Record      event.Coordinates
	Delivery    event.Coordinates // differs from Record for what was published again
	// EnrichFailed are the look-ups, comma-separated, that failed for the event.
	EnrichFailed string
	// Enriched are the look-ups, comma-separated, that wrote into the event: NAME@VERSION.
	Enriched string
	// Later is what was found out about the event later, where a reader asked for it.
	Later []*Later
}

// noRecord stands for the coordinates of an event that came from no log.
var noRecord = event.Coordinates{Partition: -1, Offset: -1}

// fill makes the row of an event, its message, and where that lies in the log;
// the zero time says that it is not known when it was received.
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

// fieldsOf makes an object of fields, in memory of its own.
func fieldsOf(fields []event.Field) []byte {
	size := 2
	for i := range fields {
		size += len(`"":,`) + len(fields[i].Name) + len(fields[i].Raw)
	}
	b := append(make([]byte, 0, size), '{') // a name with escapes may need more
	for i, f := range fields {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(rawjson.AppendString(b, f.Name), ':')
		b = append(b, f.Raw...)
	}
	return append(b, '}')
}

// asSent collects the texts that the typed columns would change: an event_id
// in capitals, a metric with more digits than a double holds.
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

// AppendJSON appends the event as its device sent it, up to the order of its
// fields, white space and the way equal numbers are written.
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
