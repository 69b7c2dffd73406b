package anomaly

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"weir/internal/event"
)

// Transitions of an alert.
const (
	didOpen    = "opened"
	didResolve = "resolved"
)

// transition is the opening or resolving of an alert: one record of the topic alert-events, as in
// schemas/alert/v1.json.
type transition struct {
	Version    int      `json:"version"`
	AlertID    string   `json:"alert_id"`
	Kind       string   `json:"kind"`
	Transition string   `json:"transition"`
	Rule       string   `json:"rule"`
	Detector   Detector `json:"detector"`
	Severity   string   `json:"severity"`
	Fleet      string   `json:"fleet"`
	Device     string   `json:"device_id"`
	Firmware   string   `json:"device_firmware_version"`
	Metric     string   `json:"metric"`
	Value      float64  `json:"value"`
	Score      *float64 `json:"score,omitempty"`    // standard deviations from the expected value
	Expected   *float64 `json:"expected,omitempty"` // the mean that it was compared with
	Limit      *float64 `json:"limit,omitempty"`    // the limit it was compared with
	EventID    string   `json:"event_id"`
	At         string   `json:"at"`                    // of the event
	Since      string   `json:"since"`                 // time of the first event that was off
	ReceivedAt string   `json:"received_at,omitempty"` // when the event was received
	Summary    string   `json:"summary"`
}

// alertID derives an alert's id from its subject and the coordinates of the event that opened it,
// so that a process which judges that event again makes the same id.
func alertID(rule, fleet, device, metric string, at event.Coordinates) string {
	h := sha256.New()
	for _, s := range []string{"weir alert", rule, fleet, device, metric} {
		h.Write([]byte(s))
		h.Write([]byte{0})
	}
	h.Write(at.Append(nil))
	id := h.Sum(nil)[:16]
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80 // a UUID of version 8
	x := hex.EncodeToString(id)
	return x[:8] + "-" + x[8:12] + "-" + x[12:16] + "-" + x[16:20] + "-" + x[20:]
}

func formatMicros(us int64) string { return time.UnixMicro(us).UTC().Format(event.TimeFormat) }
