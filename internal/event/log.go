package event

import (
	"fmt"
	"slices"
	"strings"
)

// The logs of events, as `?log=` and `--log` name them.
const (
	LogTelemetry = "telemetry"
	LogUsers     = "user-events" // about people, where they are taken (configs/people)
)

// Log is a log of events, with stores that are filled from it alone.
type Log struct {
	Name            string
	Subject         string   // of the schemas by which its events are judged
	Topics          []string // of events: live ones, and those that are published again
	DeadLetters     string   // the topic of what failed
	Consumers       []Consumer
	GroupDeadLetter string
}

// Logs are all logs of events, telemetry first. Their names, topics and groups are in
// the streams' configs, and here, and nowhere else.
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

// LogOf returns a log by its name; "" is telemetry.
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

// LogOfTopic is the name of the log that a topic is of. What rules read beside, or join
// with it, goes with telemetry.
func LogOfTopic(topic string) string {
	for _, l := range Logs() {
		if slices.Contains(l.Topics, topic) {
			return l.Name
		}
	}
	return LogTelemetry
}

// Live is the topic of events as they come.
func (l Log) Live() string { return l.Topics[0] }

// Replays is the topic of events that are published again.
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

// Targets lists what a replay of the log may name.
func (l Log) Targets() (targets []string) {
	for _, c := range l.Consumers {
		if !c.Apart {
			targets = append(targets, c.Target)
		}
	}
	return targets
}

// GroupRaw is the group of the stream that stores the log's events.
func (l Log) GroupRaw() string {
	for _, c := range l.Consumers {
		if c.Target == TargetRaw {
			return c.Group
		}
	}
	return ""
}
