package event

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"weir/internal/platform/text"
)

// MetaAlert is set to "1" on a message that is an alert, so that a stream whose other messages are events can route
// it.
const MetaAlert = "local_alert"

// Kinds and severities of alerts.
const (
	KindPipeline = "pipeline" // about weir itself, not about a device

	SeverityWarning  = "warning"
	SeverityCritical = "critical"
)

// Alert is something to notify people of. Its ID is derived from its subject (AlertID), so that repeating it is
// idempotent.
type Alert struct {
	ID       string         `json:"alert_id"`
	Kind     string         `json:"kind"`
	Rule     string         `json:"rule"`
	Severity string         `json:"severity"`
	Fleet    string         `json:"fleet"`
	Summary  string         `json:"summary"`
	Details  map[string]any `json:"details"`
	At       time.Time      `json:"at"`
}

// AlertID derives an ID from what an alert is about.
func AlertID(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:16])
}

// Message returns the alert as a message marked with MetaAlert.
func (a Alert) Message() (*service.Message, error) {
	if a.Details == nil {
		a.Details = map[string]any{}
	}
	a.At = a.At.UTC()
	raw, err := text.JSON(a)
	if err != nil {
		return nil, err
	}
	msg := service.NewMessage(raw)
	msg.MetaSetMut(MetaAlert, "1")
	return msg, nil
}
