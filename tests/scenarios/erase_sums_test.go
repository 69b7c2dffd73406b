package scenarios

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"weir/plugins/process/rule"
)

const sumsOfAll = `rules:
  - name: of_all
    across_devices: true
    window: { type: tumbling, size: 10m, allowed_lateness: 0s }
    select: { n: count(), ids: sketch(this.event_id), hottest: max(this.metrics.cpu_temp) }
`

// ofAll is what the newest revisions of the rule's sums come to.
func (s *system) ofAll() (n int64, hottest float64, ids int64, revised int) {
	s.t.Helper()
	var all rule.Uniques
	s.control(func(db *sql.DB) error {
		rows, err := db.Query(`SELECT result FROM rule_result r WHERE rule = 'of_all'
			AND NOT EXISTS (SELECT 1 FROM rule_result n WHERE n.id = r.id AND n.revision > r.revision)`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var text string
			var r struct {
				Revision int
				Values   struct {
					N       int64
					Hottest float64
					IDs     string
				}
			}
			if err := rows.Scan(&text); err != nil {
				return err
			}
			if err := json.Unmarshal([]byte(text), &r); err != nil {
				return err
			}
			if err := all.Add(r.Values.IDs); err != nil {
				return err
			}
			n, hottest = n+r.Values.N, max(hottest, r.Values.Hottest)
			if r.Revision > 0 {
				revised++
			}
		}
		return rows.Err()
	})
	return n, hottest, all.Count(), revised
}

// Sums of all devices that rules told lose what an erased device added to them, also to
// sketches of many values, to least and greatest ones: they are made anew of the raw store,
// by a process that is killed meanwhile. The receipt says how many; the proof finds each
// right, with none that is right but for what was erased.
func TestErase_SumsOfAllDevicesAreMadeAnew(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.env = []string{"WEIR_RECONCILE_INTERVAL=1h", "WEIR_RAW_PERIOD=1s", "WEIR_RULES_IDLE=2s"}
	s.start()
	s.ready()
	s.createKey()
	admin, err := s.weir("keys", "create", "--admin", "--data", s.data)
	if err != nil {
		t.Fatal(err)
	}
	admin = strings.TrimSpace(admin)
	s.rules("put", s.file("sums.yaml", sumsOfAll), "--activate")
	past := time.Now().Add(-time.Hour).Truncate(10 * time.Minute).Add(9 * time.Minute) // of one window
	for range 6 {
		s.postOf(s.key, "pump-stays", 100, past, 50)
		s.postOf(s.key, "pump-goes", 75, past, 88)
	}
	s.postOf(s.key, "pump-stays", 1, time.Now(), 41) // time passes
	s.until("the sum is told", func() bool { n, _, _, _ := s.ofAll(); return n >= 1050 })
	s.drained()
	if n, hottest, ids, _ := s.ofAll(); hottest != 88 || ids < n*9/10 {
		t.Fatalf("before: %d events, %d ids, %g", n, ids, hottest)
	}
	erasing := s.command(`weir erase --device pump-goes --fleet plant-7 --reason "request 17" --json`, admin)
	s.erasing(admin, 1, 1)
	s.kill()
	s.start()
	s.ready()
	done := erasing()
	var e struct {
		Sums *rule.Sums
		receipt
		Remains []string
	}
	s.until("the sums are made anew", func() bool {
		status, body := s.request("http://"+s.addresses[1]+"/v1/erasures/"+done.ID, http.MethodGet, admin, "")
		if status != http.StatusOK {
			t.Fatal(status, body)
		}
		if err := json.Unmarshal([]byte(body), &e); err != nil {
			t.Fatal(err)
		}
		return e.Sums != nil && e.Sums.Made > 0
	})
	t.Logf("%+v, %v", *e.Sums, e.Remains)
	if e.State != "done" || e.Sums.Made != 1 || len(e.Sums.Kept) > 0 ||
		!strings.Contains(fmt.Sprint(e.Remains), "hold no id") {
		t.Errorf("the receipt: %+v %v", *e.Sums, e.Remains)
	}
	n, hottest, ids, revised := s.ofAll()
	if left := n - 600; left < 0 || left > 1 || hottest != 50 || ids < 540 || ids > 660 || revised != 1 {
		t.Errorf("made anew: %d events, %d ids, %g, %d revised", n, ids, hottest, revised)
	}
	out, err := s.weir("reconcile", "--data", s.data, "--sample", "50")
	if err != nil || strings.Contains(out, "right but for") || !strings.Contains(out, "results of rules computed again") {
		t.Errorf("the proof: %s %v", out, err)
	}
}
