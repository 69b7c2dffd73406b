package rule

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// A rule counts the events of one topic, or joins those of two. Events of a key are in partitions of the same number
// in both topics, so a join is evaluated by partition number. Each such pair of partitions has a state, a watermark
// and a position in each topic, which are written in the same transaction as the batches of either partition.

// between separates the two topics in the name of a join's place. It cannot occur in the name of a topic.
const between = "+"

// pair returns the name of the place where two topics are joined. Their order does not matter.
func pair(a, b string) string {
	if a > b {
		a, b = b, a
	}
	return a + between + b
}

// topicsOf returns the one or two topics whose records a place is given.
func topicsOf(topic string) []string { return strings.Split(topic, between) }

// joins reports whether the place is one where two topics are joined.
func (p place) joins() bool { return strings.Contains(p.topic, between) }

// sideText is one side of a join: a condition, or a topic and perhaps a condition.
type sideText struct{ Topic, Where string }

type sideYAML struct {
	Topic string `yaml:"topic"`
	Where string `yaml:"where,omitempty"`
}

// UnmarshalYAML reads either form.
func (s *sideText) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return n.Decode(&s.Where)
	}
	for i := 0; i < len(n.Content); i += 2 {
		if name := n.Content[i].Value; name != "topic" && name != "where" {
			return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: field %s not found in type rule.sideYAML",
				n.Content[i].Line, name)}}
		}
	}
	var of sideYAML
	if err := n.Decode(&of); err != nil {
		return err
	}
	*s = sideText(of)
	return nil
}

// MarshalYAML writes a side without a topic as a plain string, as before there were topics: the epoch of the rule is
// a hash of this text.
func (s sideText) MarshalYAML() (any, error) {
	if s.Topic == "" {
		return s.Where, nil
	}
	return sideYAML(s), nil
}

var topicName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,249}$`)

func (c *checker) topic(field, name string) {
	if name != "" && !topicName.MatchString(name) {
		c.at(field, "%q is not a valid name of a topic: write letters, digits, '.', '_' and '-'", name)
	}
}

// sidesOf checks and sets the topics of the sides of a join.
func (c *checker) sidesOf(r *Rule, text *joinText) {
	left, right := text.Left.Topic, text.Right.Topic
	c.topic("join.left.topic", left)
	c.topic("join.right.topic", right)
	switch {
	case left == "" && right == "":
		return
	case left == "":
		c.at("join.left", "names no topic, but the right side does: name both, as in {topic: orders}")
	case right == "":
		c.at("join.right", "names no topic, but the left side does: name both, as in {topic: payments}")
	case r.from != "":
		c.at("from", "the sides of the join name their topics already: take it out")
	case left == right:
		r.from = left
	default:
		r.join.topics = [2]string{left, right}
	}
}

// whereabouts returns where a rule is evaluated: a topic, a pair of topics, or "" for any topic.
func (r *Rule) whereabouts() string {
	if r.join != nil && r.join.topics[0] != "" {
		return pair(r.join.topics[0], r.join.topics[1])
	}
	return r.from
}

// topics checks that either all rules of a set name topics or none does. In a stream that reads several topics, a rule
// that names none would count all of them.
func (c *checker) topics(set *Set) {
	named := slices.IndexFunc(set.Rules, func(r *Rule) bool { return r.whereabouts() != "" })
	for _, r := range set.Rules {
		if named >= 0 && r.whereabouts() == "" {
			c.add(r.line, r.Name, "from: is missing: rule %s names a topic, so that each rule of the set must: name the "+
				"one that this rule counts, as in from: raw-events", set.Rules[named].Name)
		}
	}
}

// split divides a set that names topics by the places where its rules are evaluated.
func (s *Set) split() {
	s.none = &Set{Version: s.Version, text: s.text}
	for _, r := range s.Rules {
		at := r.whereabouts()
		if at == "" {
			return
		}
		if s.by == nil {
			s.by = map[string]*Set{}
		}
		if s.by[at] == nil {
			s.by[at] = &Set{Version: s.Version, layout: s.layout, text: s.text}
		}
		s.by[at].Rules = append(s.by[at].Rules, r)
	}
}

// at returns the part of a set that is evaluated at a topic or a pair of topics. It returns the same pointer every
// time, so callers may compare it.
func (s *Set) at(topic string) *Set {
	switch {
	case s.by == nil && !strings.Contains(topic, between):
		return s
	case s.by[topic] == nil:
		return s.none
	}
	return s.by[topic]
}

// at returns the part of a canary that is evaluated at a topic.
func (c *canary) at(topic string) *canary {
	if c == nil {
		return nil
	}
	return &canary{set: c.set.at(topic), fleets: c.fleets}
}

// pairs returns the names of the places where the set joins topics, sorted.
func (s *Set) pairs() (all []string) {
	for at := range s.by {
		if strings.Contains(at, between) {
			all = append(all, at)
		}
	}
	slices.Sort(all)
	return all
}

// side is the position of one of the two topics of a join in a partition.
type side struct {
	Log  string `json:"log,omitempty"` // the id of the log that its offsets belong to
	Next int64  `json:"next"`          // the offset to read next; -1: any
	Time int64  `json:"time"`          // its watermark
	Seen int64  `json:"seen"`          // when its last record was applied, by the clock of that process
}

// reached returns the watermark after an event that counts at a time. It may be behind the present one. In a join of
// two topics it moves the watermark of the event's topic, and returns the lower of both.
func (p *partition) reached(at int64) int64 {
	s := p.sides[p.from]
	if s == nil {
		return at - p.delay
	}
	s.Time = max(s.Time, at-p.delay)
	return slowest(p.sides)
}

func slowest(sides map[string]*side) int64 {
	at := int64(never)
	for _, s := range sides {
		at = min(at, s.Time)
	}
	return at
}

// own returns the watermark of the current event's topic, which decides whether the event is late in a join. The
// partition's watermark would make that depend on how far the other topic was read. Possible partners are kept for
// longer than needed for this, because the partition's watermark is never ahead of it.
func (p *partition) own() int64 {
	if s := p.sides[p.from]; s != nil {
		return s.Time
	}
	return p.time
}
