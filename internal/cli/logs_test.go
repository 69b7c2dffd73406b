package cli

import (
	"os"
	"strings"
	"testing"
)

// What stands in the place of a stream of telemetry, where events about people are taken,
// differs from it by their stores alone.
func TestConfigs_AStreamForBothLogsIsThatOfTelemetryAndTheirStores(t *testing.T) {
	for _, name := range []string{"api.yaml", "erasure.yaml"} {
		var both [2]string
		for i, folder := range []string{"streams", "people"} {
			raw, err := os.ReadFile("../../configs/" + folder + "/" + name)
			if err != nil {
				t.Fatal(err)
			}
			_, after, found := strings.Cut("\n"+string(raw), "\ninput:")
			if !found {
				t.Fatalf("%s has no input", name)
			}
			both[i] = after
		}
		before, rest, found := strings.Cut(both[1], "    also:\n")
		for {
			line, after, _ := strings.Cut(rest, "\n")
			if !strings.HasPrefix(line, "      ") {
				break
			}
			rest = after
		}
		if !found || before+rest != both[0] {
			t.Errorf("configs/people/%s is not configs/streams/%s with also", name, name)
		}
	}
}
