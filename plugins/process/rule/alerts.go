package rule

import (
	"slices"
	"strconv"
	"strings"
	"time"

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
	r.also = append(rawjson.AppendString([]byte(`,"alert":{"severity":"`+text.Severity+`","summary":`), summary), '}')
}

// blocking reads for how long events of a device are refused of which the rule tells
// something, or of a user that a key or value of its results names.
func (c *checker) blocking(r *Rule, text, user string) {
	switch {
	case text == "" && user != "":
		c.at("block_user", "says whom, and block for how long: add it, as in block: 15m")
		return
	case text == "":
		return
	case user != "" && !r.names(user):
		c.at("block_user", "%q is neither a part of the key nor a value by first or last: name one that has the user's id, "+
			"as in select: { %s: last(this.user.id) }", user, user)
	}
	length := c.duration("block", text, time.Second)
	if length > maxBlock.Microseconds() {
		c.at("block", "%s is more than %d days", text, maxBlock/(24*time.Hour))
	}
	if r.emit.update || r.emit.every > 0 {
		c.at("block", "is for what is final, and emit tells what is not: take one of them out")
	}
	r.also = strconv.AppendInt(append(r.also, `,"block":{"seconds":`...), (length+999_999)/1e6, 10)
	if user != "" {
		r.also = rawjson.AppendString(append(r.also, `,"user":`...), user)
	}
	r.also = append(r.also, '}')
}

// names tells whether a name is of what results have from an event as it was sent: a
// part of the key, or a value that is one event's.
func (r *Rule) names(name string) bool {
	return slices.ContainsFunc(r.key, func(k keyPart) bool { return k.name == name }) ||
		slices.ContainsFunc(r.values, func(v value) bool {
			return v.name == name && (r.join != nil || v.kind == "first" || v.kind == "last")
		})
}

// maxBlock is for how long a block may be.
const maxBlock = 366 * 24 * time.Hour

// maxSummary bounds the line of an alert.
const maxSummary = 256
