package cli

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"weir/internal/control/status"
)

// The shipped streams read and write what they are shipped to.
func TestTopology_IsThatOfTheConfigs(t *testing.T) {
	t.Setenv("WEIR_BROKERS", "localhost:9092")
	files, err := filepath.Glob("../../configs/streams/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	by := map[string]status.Stream{}
	for _, s := range topologyOf(files, os.ReadFile) {
		by[s.Name] = s
	}
	if len(by) != len(files) {
		t.Errorf("%d streams of %d files", len(by), len(files))
	}
	raw := by["raw"]
	if raw.Input.Group != "weir-raw" || !slices.Equal(raw.Input.Topics, []string{"raw-events", "replay-events"}) ||
		len(raw.Outputs) != 2 || raw.Outputs[0].Path != "root.output.fallback.0.reject_errored" ||
		raw.Outputs[0].Kind != "raw_store" || raw.Outputs[1].Path != "root.output.fallback.1.switch.cases.0.output" ||
		!slices.Equal(raw.Outputs[1].Topics, []string{"dead-letter"}) {
		t.Errorf("raw: %+v", raw)
	}
	if in := by["ingest"]; in.Input.Kind != "gate" || !slices.Equal(in.Outputs[0].Topics,
		[]string{"raw-events", "dead-letter"}) {
		t.Errorf("ingest: %+v", in)
	}
	if at := by["replay"].Outputs[0].Topics; !slices.Equal(at, []string{"as each message says"}) {
		t.Errorf("replay writes to %q", at)
	}
	odd := filepath.Join(t.TempDir(), "odd.yaml")
	if err := os.WriteFile(odd, []byte("input: 5\noutput: [\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := topologyOf([]string{odd, odd + ".none"}, os.ReadFile); len(got) != 0 {
		t.Errorf("what is no config: %+v", got)
	}
}
