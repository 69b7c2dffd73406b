package rule

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/tests/integration/require"
)

// aggregatesYAML has the aggregates that the oracle computes as well.
const aggregatesYAML = `
    key: [device_id]
    select: { n: count(), nv: count(this.metrics.v), total: sum(this.metrics.v), low: min(this.metrics.v),
      high: max(this.metrics.v), mean: avg(this.metrics.v), sd: stddev(this.metrics.v), p50: p50(this.metrics.v),
      kinds: distinct(this.device_firmware_version), first_fw: first(this.device_firmware_version),
      last_fw: last(this.device_firmware_version) }
`

func oracleRules() string {
	var b strings.Builder
	b.WriteString("rules:\n")
	for _, w := range [][2]string{
		{"minutes", "type: tumbling, size: 1m, allowed_lateness: 0s"},
		{"odd", "type: sliding, size: 1600ms, every: 700ms, allowed_lateness: 0s"},
		{"slow", "type: sliding, size: 5m, every: 30s, allowed_lateness: 0s"},
		{"visits", "type: session, gap: 20s, allowed_lateness: 0s"},
		{"berlin", "type: tumbling, size: day, timezone: Europe/Berlin, allowed_lateness: 0s"},
		{"kathmandu", "type: tumbling, size: day, timezone: Asia/Kathmandu, allowed_lateness: 0s"},
		{"weeks", "type: tumbling, size: week, timezone: America/New_York, allowed_lateness: 0s"},
		{"months", "type: tumbling, size: month, timezone: Australia/Lord_Howe, allowed_lateness: 0s"},
	} {
		fmt.Fprintf(&b, "  - name: %s\n    window: { %s }%s", w[0], w[1], aggregatesYAML)
	}
	return b.String()
}

// history returns n events of some devices, with bursts and pauses, equal times, and times at the
// bounds of windows.
func history(r *rand.Rand, n int, begin time.Time) []string {
	at, lines := begin, make([]string, n)
	for i := range lines {
		switch r.IntN(12) {
		case 0:
			at = at.Add(time.Duration(r.IntN(3*3600)) * time.Second)
		case 1:
			at = at.Truncate(time.Minute).Add(time.Minute + time.Duration(r.IntN(3)-1)*time.Microsecond)
		case 2: // at the same time
		case 3:
			at = at.Add(20*time.Second + time.Duration(r.IntN(3)-1)*time.Microsecond)
		default:
			at = at.Add(time.Duration(r.IntN(4_000_000)) * time.Microsecond)
		}
		metrics := fmt.Sprintf(`{"v":%.2f,"w":%d}`, r.NormFloat64()*30+40, r.IntN(9))
		if r.IntN(10) == 0 {
			metrics = `{"w":1}`
		}
		lines[i] = fmt.Sprintf(`{"event_id":"%08x-0000-4000-8000-%012x","device_id":"pump-%d","device_firmware_version":"2.%d.0",`+
			`"timestamp":%q,"metrics":%s}`, r.Uint32(), i, r.IntN(3), r.IntN(4), at.UTC().Format("2006-01-02T15:04:05.000000Z"),
			metrics)
	}
	return lines
}

// toldJSON is the JSON of a result.
type toldJSON struct {
	ID       string         `json:"id"`
	Revision int64          `json:"revision"`
	Status   status         `json:"status"`
	Rule     string         `json:"rule"`
	Fleet    string         `json:"fleet"`
	Key      map[string]any `json:"key"`
	Start    time.Time      `json:"window_start"`
	End      time.Time      `json:"window_end"`
	Count    int64          `json:"count"`
	Values   map[string]any `json:"values"`
	Into     string         `json:"merged_into"`
}

func parseTold(t testing.TB, raw []byte) (told toldJSON) {
	t.Helper()
	if err := json.Unmarshal(raw, &told); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	return told
}

// Windows have the values that DuckDB computes: p50 to within its error of 1 %, all others to within
// rounding.
func TestRule_WindowsAreThoseOfDuckDB(t *testing.T) {
	interpreter := require.Python(t, "../../..")
	set := mustParse(t, oracleRules())
	r := rand.New(rand.NewPCG(7, 16))
	// across changes of the clock, and before 1970
	for _, begin := range []string{"2026-03-27T20:00:00Z", "2026-10-24T01:00:00Z", "1969-12-31T22:00:00Z"} {
		at, err := time.Parse(time.RFC3339, begin)
		if err != nil {
			t.Fatal(err)
		}
		lines := history(r, 600, at)
		file := filepath.Join(t.TempDir(), "events.ndjson")
		if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(interpreter, "../../../tests/integration/windows_check.py", file)
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
			want[fmt.Sprintf("%v %v %.0f %.0f", row["rule"], row["device"], row["s"], row["e"])] = row
		}
		if len(want) < 500 {
			t.Fatalf("DuckDB counts %d windows", len(want))
		}
		_, err = set.Try(strings.NewReader(strings.Join(lines, "\n")), Trial{Fleet: "f"}, func(r Result) error {
			got := parseTold(t, r.JSON)
			name := fmt.Sprintf("%v %v %d %d", got.Rule, got.Key["device_id"], got.Start.UnixMicro(), got.End.UnixMicro())
			row, there := want[name]
			if !there {
				t.Fatalf("DuckDB has no window %s: %s", name, r.JSON)
			}
			delete(want, name)
			for field, value := range got.Values {
				if !sameValue(field, value, row[field]) {
					t.Errorf("%s: %s is %v, DuckDB says %v", name, field, value, row[field])
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for name := range want {
			t.Errorf("there is no result for %s", name)
		}
	}
}

func sameValue(field string, got, want any) bool {
	a, ok1 := got.(float64)
	b, ok2 := want.(float64)
	if !ok1 || !ok2 {
		return got == want
	}
	tolerance := 1e-9
	if field == "p50" {
		tolerance = 0.0101
	}
	return math.Abs(a-b) <= tolerance*math.Max(math.Abs(b), 1e-3)
}

func mustParse(t testing.TB, text string) *Set {
	t.Helper()
	set, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return set
}
