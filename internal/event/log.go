package event

import (
	"fmt"
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
	Topics          []string // of events
	DeadLetters     string   // the topic of what failed
	Consumers       []Consumer
	GroupDeadLetter string
}

// Logs are all logs of events, telemetry first. Their names, topics and groups are in
// the streams' configs, and here, and nowhere else.
func Logs() []Log {
	return []Log{
		{Name: LogTelemetry, Topics: []string{"raw-events", "replay-events"}, DeadLetters: "dead-letter",
			Consumers: Consumers(), GroupDeadLetter: groupDeadLetter},
		{Name: LogUsers, Topics: []string{"user-events"}, DeadLetters: "user-dead-letter",
			Consumers: []Consumer{{Group: "weir-user-raw", Target: TargetRaw}}, GroupDeadLetter: "weir-user-dead-letter"},
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

// GroupRaw is the group of the stream that stores the log's events.
func (l Log) GroupRaw() string {
	for _, c := range l.Consumers {
		if c.Target == TargetRaw {
			return c.Group
		}
	}
	return ""
}
