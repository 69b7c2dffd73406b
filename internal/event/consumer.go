package event

import (
	"fmt"
	"slices"
	"strings"
)

// Targets of a replayed event: which consumers handle it.
const (
	TargetRaw    = "raw"
	TargetRollup = "rollup"
	TargetDetect = "detect"
	TargetRules  = "rules"
)

// groupDeadLetter is the consumer group of the dead letters.
const groupDeadLetter = "weir-dead-letter"

// Consumer is a stream that reads the log of events.
type Consumer struct {
	Group  string // its consumer group, as its stream's config has it
	Target string // as weir_target names it, and the stage of its dead letters
	Quiet  bool   // a replay does without it, unless it is asked for by name
	Apart  bool   // nobody waits for it, and no replay reaches it: it says itself what it misses
}

// consumers are all streams that read the log of events. The gate, the spillway
// and replays wait for those that are not apart. Their names are in the streams'
// configs, and here, and nowhere else.
func consumers() []Consumer {
	return []Consumer{
		{Group: "weir-raw", Target: TargetRaw},
		{Group: "weir-rollup", Target: TargetRollup},
		{Group: "weir-detect", Target: TargetDetect, Quiet: true}, // alerts of what is long past
		{Group: "weir-rules", Target: TargetRules, Quiet: true, Apart: true},
	}
}

// Groups lists the consumer groups that others wait for.
func Groups() []string { return Logs()[0].Groups() }

// Targets lists what a replay may name.
func Targets() []string { return Logs()[0].Targets() }

// TargetOf is what a replay calls a consumer group of either log, "" for one that is
// not weir's: it handles every record.
func TargetOf(group string) string {
	for _, l := range Logs() {
		for _, c := range l.Consumers {
			if c.Group == group {
				return c.Target
			}
		}
	}
	return ""
}

// ParseConsumers reads a list of consumer groups, as components are given it: a
// group of weir's by its name, one of your own as GROUP=TARGET, or by its name
// if it handles every record.
func ParseConsumers(list []string) (consumers []Consumer, err error) {
	for _, item := range list {
		group, target, named := strings.Cut(item, "=")
		if !named {
			target = TargetOf(group)
		} else if !slices.Contains(Targets(), target) {
			return nil, fmt.Errorf("consumer group %q: %q is not one of %s", item, target, strings.Join(Targets(), ", "))
		}
		consumers = append(consumers, Consumer{Group: group, Target: target})
	}
	return consumers, nil
}

// GroupOf is the consumer group of a target.
func GroupOf(target string) string {
	for _, c := range consumers() {
		if c.Target == target {
			return c.Group
		}
	}
	return ""
}
