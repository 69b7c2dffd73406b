package event

import (
	"fmt"
	"slices"
	"strings"
)

// Replay targets: the consumers that handle a republished event.
const (
	TargetRaw    = "raw"
	TargetRollup = "rollup"
	TargetDetect = "detect"
	TargetRules  = "rules"
)

// groupDeadLetter is the consumer group of the dead letters.
const groupDeadLetter = "weir-dead-letter"

// Consumer is a stream that reads an event log.
type Consumer struct {
	Group  string // its consumer group, as in its stream's config
	Target string // its name in weir_target, and the stage of its dead letters
	Quiet  bool   // a replay skips it unless it is named
	Apart  bool   // nobody waits for it and replays do not reach it: it reports itself what it misses
}

// consumers lists the streams that read the telemetry log. The gate, the spillway and replays wait for those that are
// not Apart. The groups are named only here and in the streams' configs.
func consumers() []Consumer {
	return []Consumer{
		{Group: "weir-raw", Target: TargetRaw},
		{Group: "weir-rollup", Target: TargetRollup},
		{Group: "weir-detect", Target: TargetDetect, Quiet: true}, // no alerts about the past
		{Group: "weir-rules", Target: TargetRules, Quiet: true, Apart: true},
	}
}

// Groups lists the consumer groups of the telemetry log that others wait for.
func Groups() []string { return Logs()[0].Groups() }

// Targets lists the targets that a replay of telemetry may name.
func Targets() []string { return Logs()[0].Targets() }

// TargetOf returns the replay target of a consumer group of any log, or "" for an unknown group, which handles every
// record.
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

// ParseConsumers parses a list of consumer groups from a config: one of weir's groups by its name, another as
// GROUP=TARGET, or by its name alone if it handles every record.
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

// GroupOf returns the consumer group of a target of the telemetry log, or "".
func GroupOf(target string) string {
	for _, c := range consumers() {
		if c.Target == target {
			return c.Group
		}
	}
	return ""
}
