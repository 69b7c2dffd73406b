package event

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"weir/internal/platform/broker"
)

// Each log has topics, groups and a name of its own, which are made, and which its
// streams' configs have.
func TestLogs_NameEachTopicAndGroupOnce(t *testing.T) {
	var topics []string
	for _, topic := range broker.Topics() {
		topics = append(topics, topic.Name)
	}
	seen := map[string]bool{}
	for folder, l := range map[string]Log{"streams": Logs()[0], "people": Logs()[1]} {
		files, err := filepath.Glob("../../configs/" + folder + "/*.yaml")
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		var configs strings.Builder
		for _, file := range files {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			configs.Write(raw)
		}
		names := append(slices.Clone(l.Topics), l.DeadLetters)
		for _, topic := range names {
			if !slices.Contains(topics, topic) {
				t.Errorf("nobody makes the topic %s", topic)
			}
		}
		for _, c := range l.Consumers {
			names = append(names, c.Group)
		}
		for _, name := range append(names, l.GroupDeadLetter) {
			if !strings.Contains(configs.String(), name) || seen[name] {
				t.Errorf("%s is in none of the configs of %s, or another log's", name, folder)
			}
			seen[name] = true
		}
		if got, err := LogOf(l.Name); err != nil || got.Name != l.Name || got.GroupRaw() == "" {
			t.Errorf("%s is found as %+v, %v", l.Name, got, err)
		}
	}
	if l, err := LogOf(""); err != nil || l.Name != LogTelemetry || l.GroupRaw() != GroupOf(TargetRaw) {
		t.Errorf("without a name: %+v %v", l, err)
	}
	if _, err := LogOf("users"); err == nil || !strings.Contains(err.Error(), "telemetry or user-events") {
		t.Errorf("a log that is none: %v", err)
	}
}
