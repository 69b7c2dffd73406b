package rule

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const examples = "../../../docs/examples/rules"

// The shipped examples have the results that are shown with them, byte for byte, also when their
// events come in another order in which none is late.
func TestRules_ShippedExamplesTellWhatIsShown(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(examples, "*.yaml"))
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(file, ".yaml")
		read := func(path string) []byte {
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			return raw
		}
		set := mustParse(t, string(read(file)))
		if len(set.Rules) != 1 || set.Rules[0].Name != filepath.Base(name) || len(set.Rules[0].Slow) > 0 {
			t.Errorf("%s: %d rules, slow: %v", file, len(set.Rules), set.Rules[0].Slow)
		}
		events := read(name + ".events.ndjson")
		for shuffle := range uint64(5) {
			var told []string
			report, err := set.Try(bytes.NewReader(events), Trial{Fleet: "try", Delay: 5 * time.Second, Shuffle: shuffle},
				func(r Result) error {
					told = append(told, string(r.JSON)+"\n")
					return nil
				})
			if err != nil || len(report.Invalid) > 0 || report.Rules[0].Outcomes[Failed] > 0 {
				t.Fatalf("%s: %+v %v", file, report, err)
			}
			shown := slices.Collect(strings.Lines(string(read(name + ".results.ndjson"))))
			slices.Sort(told)
			slices.Sort(shown)
			if !slices.Equal(told, shown) {
				t.Errorf("%s (weir rules try --rules %s --events %s.events.ndjson): the results are\n%s", file, file, name,
					strings.Join(told, ""))
				break
			}
		}
	}
}
