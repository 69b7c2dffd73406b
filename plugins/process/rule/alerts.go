package rule

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/internal/platform/rawjson"
)

// alertText is the alert that each result of a rule raises. The alert store decides the rest: it folds the alerts of a
// key into one that is open, notifies people, and closes it.
type alertText struct {
	Severity string `yaml:"severity"`
	Summary  string `yaml:"summary"`
}

// alerting checks the alert of a rule, and appends its JSON to what each result carries (r.also).
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
		c.at("alert.summary", "must be one line for people, of 1 to %d bytes, as in Login from elsewhere after failures",
			maxSummary)
	}
	if r.emit.update || r.emit.every > 0 {
		c.at("alert", "needs results that are final, but emit adds some that are not: take one of the two out")
	}
	r.also = append(rawjson.AppendString([]byte(`,"alert":{"severity":"`+text.Severity+`","summary":`), summary), '}')
}

// blocking checks the block of a rule, and appends its JSON to what each result carries (r.also): for how long events
// of the result's device are refused or, with user, events of the user whose id is the part of the key or the value of
// that name.
func (c *checker) blocking(r *Rule, text, user string) {
	switch {
	case text == "" && user != "":
		c.at("block_user", "says whom to block, but block, which says for how long, is missing: add it, as in block: 15m")
		return
	case text == "":
		return
	case user != "" && !r.names(user):
		c.at("block_user", "%q is neither a part of the key nor a value by first or last: name one that has the user's id, "+
			"as in select: { %s: last(this.user.id) }", user, user)
	}
	length := c.duration("block", text, time.Second)
	if length > maxBlock.Microseconds() {
		c.at("block", "%s is more than %d days: write a shorter time", text, maxBlock/(24*time.Hour))
	}
	if r.emit.update || r.emit.every > 0 {
		c.at("block", "needs results that are final, but emit adds some that are not: take one of the two out")
	}
	r.also = strconv.AppendInt(append(r.also, `,"block":{"seconds":`...), (length+999_999)/1e6, 10)
	if user != "" {
		r.also = rawjson.AppendString(append(r.also, `,"user":`...), user)
	}
	r.also = append(r.also, '}')
}

// names tells whether name is a part of the key, or a value that is copied from one event: by first or last, or any
// value of a join.
func (r *Rule) names(name string) bool {
	return slices.ContainsFunc(r.key, func(k keyPart) bool { return k.name == name }) ||
		slices.ContainsFunc(r.values, func(v value) bool {
			return v.name == name && (r.join != nil || v.kind == "first" || v.kind == "last")
		})
}

// maxBlock bounds the length of a block.
const maxBlock = 366 * 24 * time.Hour

// maxSummary bounds the summary of an alert, in bytes.
const maxSummary = 256
