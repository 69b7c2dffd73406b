package event

import (
	"fmt"
	"slices"
	"strings"
)

// The event logs, as `?log=` and `--log` name them.
const (
	LogTelemetry = "telemetry"
	LogUsers     = "user-events" // about people, where configs/people enables it
)

// Log is a log of events with its topics, consumers and stores.
type Log struct {
	Name            string
	Subject         string   // schema subject of its events
	Topics          []string // live events, then republished ones
	DeadLetters     string   // dead-letter topic
	Consumers       []Consumer
	GroupDeadLetter string
}

// Logs lists all event logs, telemetry first. Their topics and groups are named only here and in the streams'
// configs.
func Logs() []Log {
	return []Log{
		{Name: LogTelemetry, Subject: "telemetry", Topics: []string{"raw-events", "replay-events"},
			DeadLetters: "dead-letter",
			Consumers:   consumers(), GroupDeadLetter: groupDeadLetter},
		{Name: LogUsers, Subject: "user_event", Topics: []string{"user-events", "user-replay-events"},
			DeadLetters: "user-dead-letter", Consumers: []Consumer{{Group: "weir-user-raw", Target: TargetRaw}},
			GroupDeadLetter: "weir-user-dead-letter"},
	}
}

// LogOf returns a log by its name; "" is telemetry. It fails for an unknown name.
func LogOf(name string) (Log, error) {
	var names []string
	for _, l := range Logs() {
		if l.Name == name || name == "" {
			return l, nil
		}
		names = append(names, l.Name)
	}
	return Log{}, fmt.Errorf("there is no log %q: expected %s", name, strings.Join(names, " or "))
}

// LogOfTopic returns the name of the log that a topic belongs to. Any other topic, such as one that rules join with,
// counts as telemetry.
func LogOfTopic(topic string) string {
	for _, l := range Logs() {
		if slices.Contains(l.Topics, topic) {
			return l.Name
		}
	}
	return LogTelemetry
}

// Live returns the topic of newly received events.
func (l Log) Live() string { return l.Topics[0] }

// Replays returns the topic of republished events.
func (l Log) Replays() string { return l.Topics[1] }

// Groups lists the log's consumer groups that others wait for.
func (l Log) Groups() (groups []string) {
	for _, c := range l.Consumers {
		if !c.Apart {
			groups = append(groups, c.Group)
		}
	}
	return groups
}

// Targets lists the targets that a replay of the log may name.
func (l Log) Targets() (targets []string) {
	for _, c := range l.Consumers {
		if !c.Apart {
			targets = append(targets, c.Target)
		}
	}
	return targets
}

// GroupRaw returns the group of the stream that stores the log's events.
func (l Log) GroupRaw() string {
	for _, c := range l.Consumers {
		if c.Target == TargetRaw {
			return c.Group
		}
	}
	return ""
}
