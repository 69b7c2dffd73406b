package scenarios

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// oldHistory is a set of readings of past days: for each device and day, two a minute for some minutes from noon on.
type oldHistory struct {
	devices []string
	days    []time.Time
	minutes int
}

func newOldHistory(devices, days, minutes int) (h oldHistory) {
	for d := range devices {
		h.devices = append(h.devices, fmt.Sprintf("old-%02d", d))
	}
	noon := time.Now().UTC().Truncate(24 * time.Hour).Add(12 * time.Hour)
	for d := range days {
		h.days = append(h.days, noon.AddDate(0, 0, d-days-3))
	}
	h.minutes = minutes
	return h
}

// write writes the readings as CSV files for `weir fleet`, and returns its arguments.
func (h oldHistory) write(t *testing.T, dir string, random *rand.Rand) (args []string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	events := 0
	for _, device := range h.devices {
		var lines strings.Builder
		for _, day := range h.days {
			for m := range h.minutes {
				for s := range 2 {
					at := day.Add(time.Duration(m)*time.Minute + time.Duration(s*30+random.IntN(30))*time.Second)
					fmt.Fprintf(&lines, "%s,%.1f\n", at.Format(time.RFC3339), 40+10*random.Float64())
					events++
				}
			}
		}
		path := filepath.Join(dir, device+".csv")
		if err := os.WriteFile(path, []byte(lines.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--csv", path)
	}
	return append(args, "--csv-shift=false", "--devices", "0", "--events", fmt.Sprint(events), "--rate", "3000",
		"--batch", "50", "--connections", "8", "--retry")
}

// answers queries the API for the history of some devices at each resolution, and for all devices also merged over
// the fleet. It returns each line by resolution, device, metric and bucket.
func (h oldHistory) answers(s *system, devices []string) map[string]string {
	s.t.Helper()
	found := map[string]string{}
	ask := func(resolution string, who url.Values) {
		q := url.Values{"resolution": {resolution}, "limit": {"10000"}, "from": {h.days[0].Format(time.RFC3339)},
			"to": {h.days[len(h.days)-1].Add(24 * time.Hour).Format(time.RFC3339)}}
		for name, values := range who {
			q[name] = values
		}
		lines := 0
		for {
			var page struct {
				Rollups []json.RawMessage
				Next    *string
			}
			s.get("/v1/rollups?"+q.Encode(), s.key, &page)
			for _, line := range page.Rollups {
				lines++
				var place struct {
					Device string `json:"device_id"`
					Metric string
					Bucket string
				}
				if err := json.Unmarshal(line, &place); err != nil {
					s.t.Fatal(err)
				}
				found[fmt.Sprint(resolution, " ", place.Device, " ", place.Metric, " ", place.Bucket)] = string(line)
			}
			if page.Next == nil {
				break
			}
			q.Set("cursor", *page.Next)
		}
		if lines == 0 {
			s.t.Fatalf("no rollups at %s: %v", resolution, who)
		}
	}
	for _, resolution := range []string{"1m", "1h", "1d"} {
		ask(resolution, url.Values{"device": {strings.Join(devices, ",")}})
		if len(devices) == len(h.devices) {
			ask(resolution, url.Values{"merge": {"fleet"}})
		}
	}
	return found
}

// tierState is the state of moving old minutes to Parquet, as the database has it.
type tierState struct {
	owner   string // the process that holds the lease
	rows    int    // minutes of the history that are still rows
	objects int
	windows int // minutes in objects
}

func (s *system) tier(db *sql.DB, h oldHistory) (st tierState) {
	s.t.Helper()
	if err := db.QueryRow(`SELECT owner, (SELECT count(*) FROM rollup_window_1m WHERE bucket < ?),
		(SELECT count(*) FROM rollup_cold), (SELECT coalesce(sum(windows), 0) FROM rollup_cold) FROM rollup_tier`,
		h.days[len(h.days)-1].Add(24*time.Hour).Unix()).Scan(&st.owner, &st.rows, &st.objects, &st.windows); err != nil {
		s.t.Fatal(err)
	}
	return st
}

func (s *system) rollupDB() *sql.DB {
	s.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.data, "rollups.db")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = db.Close() })
	return db
}

// Old minutes move to Parquet while weir is killed repeatedly. At any time the API and an independent reader return
// what they returned before. Late events are counted, an erased device is removed from the objects too, and every
// offset stays explained.
func TestOldMinutes_MoveUnderKillsAndAnswerTheSame(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.start()
	s.ready()
	s.createKey()
	random := rand.New(rand.NewPCG(13, 5))
	h := newOldHistory(24, 12, 30)
	all := len(h.devices) * len(h.days) * h.minutes
	_, wait := s.fleet(append(h.write(t, filepath.Join(s.dir, "history"), random), "--duplicates", "1")...)
	t.Logf("weir fleet:\n%s", wait())
	s.drained()
	before := h.answers(s, h.devices)
	s.stop()

	env := []string{"WEIR_LEDGER_KEEP=1s", "WEIR_RETENTION_INTERVAL=1s", "WEIR_ROLLUP_MOVE_EVERY=50ms",
		"WEIR_RECONCILE_INTERVAL=1h"}
	db := s.rollupDB()
	if _, err := db.Exec(`UPDATE rollup_hour SET opened_at = opened_at - 3600`); err != nil { // or wait two minutes
		t.Fatal(err)
	}
	s.env = append(env, "WEIR_ROLLUP_HOT=8760h")
	s.start()
	s.sealed(db)
	s.kill()
	s.env = append(env, "WEIR_ROLLUP_HOT=24h")
	s.start()
	midway := 0
	for kill := range 3 {
		var st tierState
		for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(time.Millisecond) {
			if st = s.tier(db, h); st.owner != "" && st.objects >= 4*kill || st.rows == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("nothing was moved: %+v", st)
			}
		}
		s.kill()
		if st = s.tier(db, h); st.owner != "" {
			midway++
		}
		t.Logf("kill %d: %+v", kill+1, st)
		s.start()
		s.ready()
		s.same(before, h.answers(s, h.devices), fmt.Sprint("after kill ", kill+1))
		if _, err := db.Exec(`UPDATE rollup_tier SET lease_until = 0`); err != nil { // otherwise it expires after 30 s
			t.Fatal(err)
		}
	}
	if midway == 0 {
		t.Log("no kill came while minutes were moved")
	}
	s.moved(db, h, all)
	s.same(before, h.answers(s, h.devices), "after all have moved")
	if inv := taken(t, s.places()); inv.Rollups.Rows["moved_1m"][fleetName] != all {
		t.Errorf("%d minutes are in Parquet, expected %d", inv.Rollups.Rows["moved_1m"][fleetName], all)
	}
	s.verify(90 * time.Second)
	s.reconcile()

	late := oldHistory{devices: h.devices[:5], days: h.days[3:7], minutes: h.minutes + 2} // adds new minutes
	_, wait = s.fleet(late.write(t, filepath.Join(s.dir, "late"), random)...)
	t.Logf("weir fleet:\n%s", wait())
	s.drained()
	s.verify(90 * time.Second)

	admin, err := s.weir("keys", "create", "--admin", "--data", s.data)
	if err != nil {
		t.Fatal(err)
	}
	admin = strings.TrimSpace(admin)
	rest := h.devices[1:]
	before = h.answers(s, rest)
	gone := s.command(`weir erase --device old-00 --fleet plant-7 --reason "of the past" --json`, admin)
	s.erasing(admin, 1, 1)
	s.kill()
	s.start()
	s.ready()
	if got, want := gone().Erased["rollup_windows_1m"], int64(len(h.days)*h.minutes+len(late.days)*2); got != want {
		t.Errorf("%d minutes were erased, expected %d", got, want)
	}
	s.erased(fleetName, "old-00", time.Now())
	s.same(before, h.answers(s, rest), "after an erasure of another device")
	s.reconcile()
}

// sealed waits until no minute keeps a ledger and all hours are rolled up.
func (s *system) sealed(db *sql.DB) {
	s.t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		n := 0
		if err := db.QueryRow(`SELECT (SELECT count(*) FROM rollup_window_1m WHERE ledger_state <> 1) +
			(SELECT count(*) FROM rollup_hour WHERE state <> 2)`).Scan(&n); err != nil {
			s.t.Fatal(err)
		}
		if n == 0 {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%d minutes have ledgers, or are of hours that are not rolled", n)
		}
	}
}

// moved waits until all minutes of the history are in objects and none is a row.
func (s *system) moved(db *sql.DB, h oldHistory, all int) {
	s.t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		st := s.tier(db, h)
		if st.rows == 0 && st.windows == all && st.owner == "" {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("not all of %d minutes were moved: %+v", all, st)
		}
	}
}

func (s *system) same(want, got map[string]string, when string) {
	s.t.Helper()
	wrong := 0
	for key, line := range want {
		if got[key] != line {
			if wrong++; wrong == 1 {
				s.t.Logf("%s was\n%s\nand is\n%s", key, line, got[key])
			}
		}
	}
	if wrong > 0 || len(got) != len(want) {
		s.t.Fatalf("%s, %d of %d lines differ, and there are %d", when, wrong, len(want), len(got))
	}
}
