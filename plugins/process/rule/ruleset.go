package rule

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"weir/internal/platform/conf"
	"weir/internal/platform/predicate"
)

// Set is a rule set, checked and compiled. It is immutable and safe for concurrent use.
type Set struct {
	Version string // a hash of the text
	Rules   []*Rule
	layout  predicate.Layout
	by      map[string]*Set // the rules by the topic, or pair of topics, at which they are evaluated; nil: at any
	none    *Set            // the empty set, for topics that are not in by
	text    string          // of the whole set, also in the sets of by
	doubts  []Problem       // problems for which a new set is refused, but not one that is in force already
}

// Rule is one rule of a set.
type Rule struct {
	Name    string
	Epoch   string   // a hash of what its state depends on: the name, window, pattern or join, where, key and select
	Slow    []string // the expressions that are not compiled but interpreted by Bloblang, each with the reason
	line    int
	from    string      // the topic whose events it counts; "": any, or a join names two
	window  *windowSpec // a rule has exactly one of window, pattern and join
	pattern *patternSpec
	join    *joinSpec
	where   *predicate.Expr // nil: every event
	key     []keyPart
	keyText string // the expressions of key, for comparison
	cols    []*column
	values  []value
	having  *having // nil: every result
	emit    emitSpec
	limits  limits
	also    []byte // JSON members on alerts and blocks that its results have; nil: none
	across  bool   // it counts all devices of a partition together
}

type keyPart struct {
	name string
	expr *predicate.Expr
}

// document is a rule set as it is written in YAML.
type document struct {
	Rules []*ruleText `yaml:"rules"`
}

type ruleText struct {
	Name    string       `yaml:"name"`
	From    string       `yaml:"from,omitempty"`
	Window  *windowText  `yaml:"window"`
	Pattern *patternYAML `yaml:"pattern,omitempty"` // omitempty: epochs from before this field must stay the same
	Join    *joinText    `yaml:"join,omitempty"`
	Where   string       `yaml:"where"`
	Key     []string     `yaml:"key"`
	Select  yaml.Node    `yaml:"select"`
	Having  string       `yaml:"having"`
	Emit    *emitText    `yaml:"emit"`
	Fast    string       `yaml:"fast"`
	Limits  *limitsText  `yaml:"limits,omitempty"`
	Alert   *alertText   `yaml:"alert,omitempty"`
	Block   string       `yaml:"block,omitempty"`
	Blocked string       `yaml:"block_user,omitempty"`
	Across  bool         `yaml:"across_devices,omitempty"`
}

type windowText struct {
	Type     string `yaml:"type"`
	Size     string `yaml:"size"`
	Every    string `yaml:"every"`
	Gap      string `yaml:"gap"`
	Max      string `yaml:"max"`
	Align    string `yaml:"align"`
	Timezone string `yaml:"timezone"`
	Lateness string `yaml:"allowed_lateness"`
}

type emitText struct {
	On    string `yaml:"on"`
	Every string `yaml:"every"`
}

// emitSpec says when provisional results are emitted.
type emitSpec struct {
	update bool
	every  int64 // µs; 0: not at intervals
}

// Problem is one error in a rule set.
type Problem struct {
	Line int
	Rule string
	Text string
}

// Named returns the text, with the name of the rule before it.
func (p Problem) Named() string {
	if p.Rule != "" {
		return fmt.Sprintf("rule %s: %s", p.Rule, p.Text)
	}
	return p.Text
}

// ProblemsError holds all errors in a rule set. No rule of such a set is used.
type ProblemsError struct{ Problems []Problem }

func (e *ProblemsError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = fmt.Sprintf("line %d: %s", p.Line, p.Named())
	}
	return strings.Join(lines, "\n")
}

var ruleName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// maxRules bounds a set.
const maxRules = 10_000

// Parse parses, checks and compiles a rule set in YAML. Its error is a *ProblemsError with everything that is wrong.
func Parse(raw []byte) (*Set, error) {
	set, err := parseKept(raw)
	if err == nil && len(set.doubts) > 0 {
		err = &ProblemsError{set.doubts}
	}
	if err != nil {
		return nil, err
	}
	return set, nil
}

// parseKept is Parse for a set that may be in force: problems that earlier versions of weir did not see are doubts of
// the set, and it runs as it did.
func parseKept(raw []byte) (*Set, error) {
	sum := sha256.Sum256(raw)
	set := &Set{Version: hex.EncodeToString(sum[:6]), text: string(raw)}
	var doc document
	var tree yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(raw))
	d.KnownFields(true)
	if err := d.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return nil, yamlProblems(err)
	}
	if err := yaml.Unmarshal(raw, &tree); err != nil {
		return nil, yamlProblems(err)
	}
	c := &checker{}
	c.single(raw)
	if doc.Rules == nil {
		c.add(1, "", "the file has no rules: write a list under rules:, which may be empty (rules: [])")
	}
	if len(doc.Rules) > maxRules {
		c.add(1, "", "there are %d rules, more than the %d that a set may have: take some out", len(doc.Rules), maxRules)
	}
	names := map[string]bool{}
	for i, text := range doc.Rules {
		c.node = child(child(root(&tree), "rules"), i)
		if text == nil {
			c.add(c.line(), "", "the rule is empty: write its fields, or take it out")
			continue
		}
		if names[text.Name] {
			c.rule = text.Name
			c.at("name", "another rule has this name, and results are known by it: choose another name")
		}
		names[text.Name] = true
		set.Rules = append(set.Rules, c.compile(text, &set.layout))
	}
	c.topics(set)
	if len(c.problems) > 0 {
		return nil, &ProblemsError{append(c.problems, c.doubts...)}
	}
	set.doubts = c.doubts
	set.split()
	return set, nil
}

// yamlProblems turns an error of the YAML package into problems, in the terms of rule sets.
func yamlProblems(err error) error {
	var all *yaml.TypeError
	texts := []string{strings.TrimPrefix(err.Error(), "yaml: ")}
	if errors.As(err, &all) {
		texts = all.Errors
	}
	e := &ProblemsError{}
	for _, text := range texts {
		text = strings.NewReplacer(" in type rule.ruleText", " of a rule", " in type rule.windowText", " of a window",
			" in type rule.patternYAML", " of a pattern", " in type rule.joinText", " of a join",
			" in type rule.withinText", " of within", " in type rule.sideYAML", " of a side",
			" in type rule.emitText", " of emit", " in type rule.limitsText", " of limits",
			" in type rule.alertText", " of an alert", " in type rule.document", " of a rule set", "not found",
			"is not a field").Replace(text)
		p := Problem{Text: text}
		if n, _ := fmt.Sscanf(text, "line %d:", &p.Line); n == 1 {
			_, p.Text, _ = strings.Cut(text, ": ")
		}
		e.Problems = append(e.Problems, p)
	}
	return e
}

func root(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.DocumentNode && len(n.Content) > 0 {
		return n.Content[0]
	}
	return n
}

// child returns the member with a name, or the element with an index; n when there is none.
func child(n *yaml.Node, at any) *yaml.Node {
	switch at := at.(type) {
	case string:
		for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == at {
				return n.Content[i+1]
			}
		}
	case int:
		if n.Kind == yaml.SequenceNode && at < len(n.Content) {
			return n.Content[at]
		}
	}
	return n
}

// checker collects all problems of a rule set, so that its author sees them at once.
type checker struct {
	problems []Problem
	doubts   []Problem  // Set.doubts
	node     *yaml.Node // of the current rule
	parser   predicate.Parser
	rule     string
}

func (c *checker) line() int { return c.node.Line }

func (c *checker) add(line int, rule, format string, args ...any) {
	c.problems = append(c.problems, Problem{line, rule, fmt.Sprintf(format, args...)})
}

// doubt adds a problem that sets in force may have.
func (c *checker) doubt(line int, rule, format string, args ...any) {
	c.doubts = append(c.doubts, Problem{line, rule, fmt.Sprintf(format, args...)})
}

// single adds a problem for a second document, of which no rule is read.
func (c *checker) single(raw []byte) {
	line, err := conf.SecondDocument(raw)
	switch {
	case err != nil:
		c.doubt(1, "", "what follows the first YAML document cannot be read: %s; a file has one document: take the rest "+
			"out", strings.TrimPrefix(err.Error(), "yaml: "))
	case line > 0:
		c.doubt(line, "", "%s", conf.OneDocument)
	}
}

// twice adds a problem for each name that a mapping has a second time. The YAML package sees to that only in structs.
func (c *checker) twice(field string, node *yaml.Node) {
	seen := map[string]bool{}
	for i := 0; node.Kind == yaml.MappingNode && i+1 < len(node.Content); i += 2 {
		name := node.Content[i]
		if seen[name.Value] {
			c.doubt(name.Line, c.rule, "%s.%s: occurs twice: take one out, or give it another name", field, name.Value)
		}
		seen[name.Value] = true
	}
}

// at adds a problem at a field of the current rule, as in window.size.
func (c *checker) at(field, format string, args ...any) {
	n := c.node
	for _, name := range strings.Split(field, ".") {
		n = child(n, name)
	}
	text := fmt.Sprintf(format, args...)
	c.add(n.Line, c.rule, "%s: %s", field, text)
}

// duration parses a duration of at least least, and returns it in µs; 0 after adding a problem.
func (c *checker) duration(field, text string, least time.Duration) int64 {
	v, err := time.ParseDuration(text)
	if err != nil {
		c.at(field, "%q is not a duration: write one such as 90s or 5m", text)
		return 0
	}
	if v < least || v%time.Microsecond != 0 {
		c.at(field, "%s is not allowed: write at least %s, and a whole number of microseconds", text, least)
		return 0
	}
	return v.Microseconds()
}
