package rule

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/tests/integration/require"
	"weir/tests/nexmark"
)

// The queries of Nexmark have the answers of DuckDB, with the bids in a random order within the
// delay. Distinct counts are exact up to exactDistinct, and beyond that within four standard errors.
func TestNexmark_AnswersAreThoseOfDuckDB(t *testing.T) {
	interpreter := require.Python(t, "../../..")
	const events = 12_000
	start, every := time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC), 20*time.Second // some three days
	file := filepath.Join(t.TempDir(), "events.ndjson")
	text := strings.Join(nexmark.New(16, nexmark.ByHouse, start, every).Lines(events), "\n")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(interpreter, "../../../tests/integration/nexmark_check.py", file)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.Bytes())
	}
	want := map[string]map[string]any{}
	for scan := bufio.NewScanner(bytes.NewReader(out)); scan.Scan(); {
		var row map[string]any
		if err := json.Unmarshal(scan.Bytes(), &row); err != nil {
			t.Fatal(err)
		}
		want[fmt.Sprintf("%v %v %.0f", row["rule"], row["k"], row["s"])] = row
	}
	if len(want) < 5000 {
		t.Fatalf("DuckDB has %d rows", len(want))
	}
	for _, q := range nexmark.Queries() {
		rules, err := q.Rules()
		if err != nil {
			t.Fatal(err)
		}
		log := strings.Join(nexmark.New(16, q.By, start, every).Lines(events), "\n")
		_, err = mustParse(t, rules).Try(strings.NewReader(log), Trial{Fleet: "f", Delay: time.Minute, Shuffle: 12},
			func(r Result) error {
				got := parseTold(t, r.JSON)
				key := got.Key["device_id"]
				for _, part := range []string{"bidder", "auction"} {
					if v, there := got.Key[part]; there {
						key = v
					}
				}
				name := fmt.Sprintf("%s %v %d", got.Rule, key, got.Start.UnixMicro())
				row, there := want[name]
				if !there {
					t.Fatalf("DuckDB has no row %s: %s", name, r.JSON)
				}
				delete(want, name)
				for field, value := range got.Values {
					if !sameAnswer(field, value, row[field]) {
						t.Errorf("%s: %s is %v, DuckDB says %v", name, field, value, row[field])
					}
				}
				return nil
			})
		if err != nil {
			t.Fatal(err)
		}
	}
	for name := range want {
		t.Errorf("there is no result for %s", name)
	}
}

func sameAnswer(field string, got, want any) bool {
	n, _ := want.(float64)
	if v, ok := got.(float64); ok && n > exactDistinct && (strings.HasSuffix(field, "_bidders") ||
		strings.HasSuffix(field, "_auctions")) {
		return math.Abs(v-n) <= 0.065*n
	}
	return sameValue(field, got, want)
}
