package rule

import (
	"strings"

	"weir/internal/platform/rawjson"
)

// alertText is what people are told when a rule tells something. What becomes of
// it - one open alert of a key, whom to tell, until when - is the alerts' affair.
type alertText struct {
	Severity string `yaml:"severity"`
	Summary  string `yaml:"summary"`
}

// alerting reads the alert of a rule: what its results say of it, as JSON.
func (c *checker) alerting(r *Rule, text *alertText) {
	if text == nil {
		return
	}
	switch text.Severity {
	case "info", "warning", "critical":
	default:
		c.at("alert.severity", "%q is not one of info, warning, critical", text.Severity)
	}
	summary := strings.TrimSpace(text.Summary)
	if summary == "" || len(summary) > maxSummary || strings.ContainsAny(summary, "\r\n") {
		c.at("alert.summary", "is one line for people, of at most %d bytes, as in Login from elsewhere after failures",
			maxSummary)
	}
	if r.emit.update || r.emit.every > 0 {
		c.at("alert", "is of what is final, and emit tells what is not: take one of them out")
	}
	r.alert = append(rawjson.AppendString([]byte(`,"alert":{"severity":"`+text.Severity+`","summary":`), summary), '}')
}

// maxSummary bounds the line of an alert.
const maxSummary = 256
