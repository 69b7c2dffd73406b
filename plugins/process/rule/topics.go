package rule

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// A rule counts the events of one topic, or joins those of two. Events of a key
// are in partitions of the same number in both, so that a join of two topics is
// evaluated by number: with a state, a time and a position in each that are
// written with what either of the partitions is given.

// between comes between two topics that are joined, in the name of where that is
// done. No topic has it in its name.
const between = "+"

// pair names where two topics are joined, whichever is left.
func pair(a, b string) string {
	if a > b {
		a, b = b, a
	}
	return a + between + b
}

// topicsOf are the topics of which records come to a place: one, or two.
func topicsOf(topic string) []string { return strings.Split(topic, between) }

// joins tells whether two topics are joined here.
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

// MarshalYAML writes a side of one topic as it ever was: an epoch is made of it.
func (s sideText) MarshalYAML() (any, error) {
	if s.Topic == "" {
		return s.Where, nil
	}
	return sideYAML(s), nil
}

var topicName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,249}$`)

func (c *checker) topic(field, name string) {
	if name != "" && !topicName.MatchString(name) {
		c.at(field, "%q is no name of a topic: letters, digits, '.', '_' and '-'", name)
	}
}

// sidesOf reads which topics the sides of a join are of.
func (c *checker) sidesOf(r *Rule, text *joinText) {
	left, right := text.Left.Topic, text.Right.Topic
	c.topic("join.left.topic", left)
	c.topic("join.right.topic", right)
	switch {
	case left == "" && right == "":
		return
	case left == "":
		c.at("join.left", "names no topic, and the right side does: name both, as in {topic: orders}")
	case right == "":
		c.at("join.right", "names no topic, and the left side does: name both, as in {topic: payments}")
	case r.from != "":
		c.at("from", "the sides of the join say of which topics they are; take it out")
	case left == right:
		r.from = left
	default:
		r.join.topics = [2]string{left, right}
	}
}

// whereabouts are where a rule is evaluated: at a topic, at two that are joined, or,
// when it is "", at any.
func (r *Rule) whereabouts() string {
	if r.join != nil && r.join.topics[0] != "" {
		return pair(r.join.topics[0], r.join.topics[1])
	}
	return r.from
}

// topics sees to it that a set says of each rule which topic it counts, or of none:
// a stream that reads several would count them all by those that say nothing.
func (c *checker) topics(set *Set) {
	named := slices.IndexFunc(set.Rules, func(r *Rule) bool { return r.whereabouts() != "" })
	for _, r := range set.Rules {
		if named >= 0 && r.whereabouts() == "" {
			c.add(r.line, r.Name, "from: is missing: rule %s names a topic, so that the stream reads more than one; say "+
				"which this rule counts, as in from: raw-events", set.Rules[named].Name)
		}
	}
}

// split makes what of a set is evaluated where.
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

// at is what of a set is evaluated at a topic, or at two that are joined. It is the
// same each time.
func (s *Set) at(topic string) *Set {
	switch {
	case s.by == nil && !strings.Contains(topic, between):
		return s
	case s.by[topic] == nil:
		return s.none
	}
	return s.by[topic]
}

// at is what of a canary is evaluated at a topic.
func (c *canary) at(topic string) *canary {
	if c == nil {
		return nil
	}
	return &canary{set: c.set.at(topic), fleets: c.fleets}
}

// pairs are the topics that a set joins.
func (s *Set) pairs() (all []string) {
	for at := range s.by {
		if strings.Contains(at, between) {
			all = append(all, at)
		}
	}
	slices.Sort(all)
	return all
}

// side is one topic of two that are joined: where it stands at a partition.
type side struct {
	Log  string `json:"log,omitempty"` // which log its offsets are of
	Next int64  `json:"next"`          // the offset that comes next; -1: any
	Time int64  `json:"time"`          // its watermark
	Seen int64  `json:"seen"`          // when its last record was written, by the clock of who did
}

// reached is what the time of an event makes of the partition's. Of two topics it
// is that of the one that is behind.
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

// own is the time of the topic that an event is of. By it an event is late, not by
// the partition's: so that what is depends on the topic alone, and not on how far
// the other was read meanwhile. What it could be paired with is kept for longer,
// since the partition's time is behind it.
func (p *partition) own() int64 {
	if s := p.sides[p.from]; s != nil {
		return s.Time
	}
	return p.time
}
