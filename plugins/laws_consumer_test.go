package plugins

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"gopkg.in/yaml.v3"

	"weir/internal/event"
)

// reader is a stream as far as it reads topics as a consumer group, by
// log_input or by the engine's own input.
type reader struct {
	Input struct {
		Log struct {
			Topics []string `yaml:"topics"`
			Group  string   `yaml:"group"`
		} `yaml:"log_input"`
		Engine struct {
			Topics []string `yaml:"topics"`
			Group  string   `yaml:"consumer_group"`
		} `yaml:"redpanda"`
	} `yaml:"input"`
}

// The gate, the spillway and replays wait for the consumers that event.Logs
// declares: a stream that reads the log and is not among them would lose events
// when it is slow.
func TestLaws_EveryReaderOfTheLogIsDeclared(t *testing.T) {
	files, err := filepath.Glob("../configs/streams/*.yaml")
	must(t, err)
	var found []string
	for _, file := range files {
		raw, err := os.ReadFile(file)
		must(t, err)
		var s reader
		if err := yaml.Unmarshal(raw, &s); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		group := s.Input.Log.Group + s.Input.Engine.Group
		if !slices.Contains(append(s.Input.Log.Topics, s.Input.Engine.Topics...), "raw-events") {
			continue
		}
		found = append(found, group)
		if event.TargetOf(group) == "" {
			t.Errorf("%s reads the log as %q, which event.Consumers does not declare", file, group)
		}
	}
	for _, group := range event.Groups() {
		if !slices.Contains(found, group) {
			t.Errorf("event.Consumers declares %s, and no stream reads the log as it", group)
		}
	}
}
