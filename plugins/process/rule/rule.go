package rule

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"weir/internal/event"
	"weir/internal/platform/predicate"
)

// compile checks a rule and compiles it. When it adds problems, the rule must not be used.
func (c *checker) compile(text *ruleText, l *predicate.Layout) *Rule {
	c.rule = text.Name
	r := &Rule{Name: text.Name, line: c.line(), from: text.From}
	if !ruleName.MatchString(text.Name) {
		c.at("name", "%q is not a valid name: write a lower-case letter, then up to 63 lower-case letters, digits or '_'",
			text.Name)
	}
	switch {
	case text.Window != nil && text.Pattern != nil:
		c.at("pattern", "a rule has either a window or a pattern: make two rules of this one")
	case text.Join != nil && (text.Window != nil || text.Pattern != nil):
		c.at("join", "a rule has only one of window, pattern and join: make two rules of this one")
	case text.Join != nil:
		c.join(r, text.Join, l)
	case text.Pattern != nil:
		c.pattern(r, text.Pattern, l)
	case text.Window != nil:
		r.window = c.window(text.Window)
	default:
		c.at("window", "is missing: add a window, as in {type: tumbling, size: 1m, allowed_lateness: 0s}, or else a "+
			"pattern or a join")
	}
	if text.Where != "" {
		r.where = c.expr("where", text.Where, l)
	}
	c.keys(r, text, l)
	c.twice("select", &text.Select)
	if r.join != nil {
		c.joinedValues(r, &text.Select, l)
	} else {
		c.selected(r, &text.Select, l)
	}
	if text.Having != "" {
		r.having = c.having(r, text.Having)
	}
	if r.across = text.Across; r.across {
		c.across(r, text)
	}
	c.emitted(r, text.Emit)
	c.limited(r, text.Limits)
	c.alerting(r, text.Alert)
	c.blocking(r, text.Block, text.Blocked)
	for _, e := range r.exprs() {
		if fast, why := e.Fast(); !fast {
			r.Slow = append(r.Slow, fmt.Sprintf("%s: %s", e, why))
		}
	}
	switch {
	case text.Fast != "" && text.Fast != "required":
		c.at("fast", "%q is not a valid value: write required, or take fast out", text.Fast)
	case text.Fast != "" && len(r.Slow) > 0:
		c.at("fast", "is required, but an expression is slow: %s; write it otherwise, or take fast out", r.Slow[0])
	}
	r.Epoch = epochOf(text)
	return r
}

// epochOf returns a hash of everything that the state of a rule depends on. When it changes, the rule begins anew
// without the old state. Parts that only affect how results are emitted are left out. Comments within select and define
// are not: the hashes of rules in force have them.
func epochOf(text *ruleText) string {
	t := *text
	t.Name, t.Having, t.Emit, t.Fast, t.Limits = "", "", nil, "", nil
	t.From, t.Alert, t.Block, t.Blocked = "", nil, "", "" // From: state is stored by topic anyway
	raw, err := yaml.Marshal(t)
	if err != nil { // cannot be: it holds only strings
		raw = []byte(err.Error())
	}
	sum := sha256.Sum256(append([]byte(text.Name+"\n"), raw...))
	return hex.EncodeToString(sum[:6])
}

// keepsRows reports whether the rule's state consists of single events with their columns, not of aggregates.
func (r *Rule) keepsRows() bool { return r.pattern != nil || r.join != nil }

// exprs returns all expressions that the rule evaluates on every event.
func (r *Rule) exprs() (all []*predicate.Expr) {
	if r.where != nil {
		all = append(all, r.where)
	}
	for _, k := range r.key {
		all = append(all, k.expr)
	}
	for _, col := range r.cols {
		all = append(all, col.expr)
	}
	if r.pattern != nil {
		all = append(all, r.pattern.plain...)
	}
	if r.join != nil {
		all = append(all, r.join.left, r.join.right)
	}
	compact := all[:0]
	for _, e := range all {
		if e != nil {
			compact = append(compact, e)
		}
	}
	return compact
}

func (c *checker) expr(field, source string, l *predicate.Layout) *predicate.Expr {
	e, err := c.parser.Compile(source, l)
	if err != nil {
		c.at(field, "%s", strings.ReplaceAll(err.Error(), "\n", " "))
		return nil
	}
	return e
}

var plainPath = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$`)

func (c *checker) keys(r *Rule, text *ruleText, l *predicate.Layout) {
	seen := map[string]bool{}
	named := slices.ContainsFunc(text.Key, func(k string) bool {
		return strings.TrimPrefix(k, "this.") == event.FieldDevice
	})
	switch {
	case text.Across && named:
		c.at("key", "has device_id, but the rule counts across_devices: take one of the two out")
	case text.Across:
	case len(text.Key) == 0:
		c.at("key", "is missing: a rule counts each device apart at least: write [device_id]")
	case !named:
		c.at("key", "lacks device_id: the log is partitioned by it, and events of different partitions are not counted "+
			"together; add device_id, or set across_devices: true, which emits one result for each partition, to be added "+
			"up")
	}
	for _, source := range text.Key {
		name := strings.TrimPrefix(source, "this.")
		if plainPath.MatchString(name) {
			source = "this." + name
		}
		if seen[name] {
			c.at("key", "%q occurs twice: take one out", name)
		}
		seen[name] = true
		r.key = append(r.key, keyPart{name, c.expr("key", source, l)})
		r.keyText += source + "\x00"
	}
}

// across checks a rule that counts all devices of a partition together. Its results are parts, one for each
// partition, so only aggregates that can be added up are allowed.
func (c *checker) across(r *Rule, text *ruleText) {
	if r.pattern != nil || r.join != nil || r.window != nil && r.window.grid == nil {
		c.at("across_devices", "needs a tumbling or sliding window, since all else follows one device: take it out, or "+
			"change the window")
	}
	if text.Having != "" {
		c.at("having", "would be tested on the part of each partition, not on the sum: take it out, and test the sum "+
			"where the parts are added up")
	}
	if text.Alert != nil {
		c.at("alert", "would be raised by the part of each partition, at the end of every window: take it out")
	}
	if text.Block != "" {
		c.at("block", "blocks one device, but the rule counts all devices together: take it out")
	}
	for _, v := range r.values {
		if !slices.Contains([]string{"count", "sum", "min", "max", "sketch"}, v.kind) {
			c.at("select."+v.name, "values of %s cannot be added up over partitions: use count, sum, min, max or sketch",
				v.kind)
		}
	}
}

func (c *checker) emitted(r *Rule, text *emitText) {
	switch {
	case text != nil && r.pattern != nil:
		c.at("emit", "a match is emitted once, when it is decided: take emit out")
	case text != nil && r.join != nil:
		c.at("emit", "a pair is emitted once, when both events are there: take emit out")
	}
	if text == nil || r.window == nil {
		return
	}
	switch text.On {
	case "", "close":
	case "update":
		r.emit.update = true
	default:
		c.at("emit.on", "%q is not one of close, update", text.On)
	}
	if text.Every != "" {
		r.emit.every = c.duration("emit.every", text.Every, time.Second)
	}
	if (r.emit.update || r.emit.every > 0) && r.window.grid == nil {
		c.at("emit", "only tumbling and sliding windows have results before their end: take emit out")
	}
	if r.emit.update && r.emit.every > 0 {
		c.at("emit", "on: update emits a result with each event, so that every: %s has no effect: take one of the two out",
			text.Every)
	}
}

// having is a condition on the values of a result. A result is emitted only where it is true.
type having struct {
	expr   *predicate.Expr
	layout predicate.Layout
}

func (c *checker) having(r *Rule, source string) *having {
	h := &having{}
	h.expr = c.expr("having", source, &h.layout)
	for _, path := range h.layout.Paths() {
		known := false
		for _, v := range r.values {
			known = known || v.name == path[0]
		}
		if !known {
			c.at("having", "%s is not a value of select, and having sees nothing else of the events: add it to select, or "+
				"use where", path[0])
		}
	}
	return h
}

// true reports whether the values of a result, a JSON object, satisfy the condition. A condition that cannot be
// evaluated is false: null cannot be compared, for example.
func (h *having) true(r *predicate.Reader, values []byte) (bool, error) {
	if err := r.Read(values); err != nil {
		return false, fmt.Errorf("reading a result: %w", err)
	}
	yes, err := h.expr.True(r)
	return err == nil && yes, nil
}

var errNoScalar = errors.New("the key is an array or an object: use a field of it")
