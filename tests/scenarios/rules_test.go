package scenarios

import (
	"bufio"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const scenarioRules = `
rules:
  - name: tens
    from: raw-events
    window: { type: tumbling, size: 10s, allowed_lateness: 24h }
    key: [device_id]
    select: { n: count(), temps: count(this.metrics.cpu_temp), hottest: max(this.metrics.cpu_temp) }
  - name: pairs
    from: raw-events
    pattern: { match: one two, within: 720h, order: arrival, define: { one: true, two: true } }
    key: [device_id]
    select: { n: count() }
    alert: { severity: info, summary: Two events came }
  - name: alone
    from: raw-events
    join: { left: true, right: false, within: { after: 0s }, type: left, allowed_lateness: 0s }
    key: [device_id]
    select: { at: left.timestamp }
  - name: answered
    key: [device_id, this.answers.or(this.event_id)]
    join: { left: { topic: raw-events }, right: { topic: answers }, within: { after: 0s }, allowed_lateness: 24h }
    select: { asked: left.event_id, answer: right.event_id }
  - name: unanswered
    key: [device_id]
    join: { left: { topic: raw-events }, right: { topic: answers, where: false }, within: { after: 0s }, type: left, allowed_lateness: 0s }
    select: { at: left.timestamp }
`

// answering is a stream that writes an event about each event to the topic answers.
const answering = `
input:
  label: log
  log_input: { group: answers, topics: [raw-events], ordered: true }
pipeline:
  processors:
    - label: answer
      mutation: |
        root.answers = this.event_id
        root.event_id = this.event_id.uuid_v5()
output:
  label: answers
  log_output: { client: answers, topic: answers, key: "${! @kafka_key }", headers: [weir_] }
`

const moreRules = `
  - name: hundreds
    from: raw-events
    window: { type: count, size: 100, max: 1h }
    key: [device_id]
    select: { n: count() }
`

// tens describes windows of ten seconds, by device and start: how many events, how many temperatures, and the
// highest.
type tens map[string]string

// weir is killed repeatedly while a fleet sends and versions of a rule set that share rules are activated and rolled
// back. In the end
//   - each window of the rule tens holds exactly the stored events, also those of the last seconds, after which
//     no event came;
//   - the pattern pairs has one match for each two events of a device, and one open alert a device;
//   - the outer joins alone and unanswered have one result for each event without a partner, unless it was late;
//   - the join answered has one result for each event and its answer in the other topic.
func TestRules_KillsChangeNoWindow(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.env = []string{"WEIR_RULES_IDLE=2s", "WEIR_RAW_PERIOD=300ms", "WEIR_RULES_TOPICS=raw-events,answers"}
	s.start()
	s.ready()
	s.createKey()
	s.write(filepath.Join("data", "home", "configs", "streams", "answers.yaml"), answering)
	s.rules("put", s.file("rules.yaml", scenarioRules), "--activate")
	_, wait := s.fleet("--devices", "50", "--rate", "300", "--events", "6000", "--batch", "10", "--connections", "8",
		"--duplicates", "2", "--malformed", "1", "--retry", "--retry-for", "10m", "--timeout", "10s")
	for _, change := range [][]string{
		{"put", s.file("more.yaml", scenarioRules+moreRules), "--activate"}, {"rollback"}, {"activate", "2"}} {
		s.until("there is a result", func() bool { return len(s.told()) > 0 })
		s.rules(change[0], change[1:]...)
		s.kill()
		s.start()
		s.ready()
	}
	s.rules("activate", "1", "--fleets", "*") // the rules that both versions have go on
	t.Logf("weir fleet:\n%s", wait())
	s.verify(90 * time.Second)
	want := s.storedTens()
	events := 0
	for _, w := range want {
		n := 0
		if _, err := fmt.Sscanf(w, "%d events", &n); err != nil {
			t.Fatalf("%q: %v", w, err)
		}
		events += n
	}
	s.until("all windows are told, and all answers", func() bool {
		return maps.Equal(s.told(), want) && s.rows(`SELECT count(*) FROM rule_result WHERE rule = 'answered'`) == events
	})
	s.until("all that are alone are told", func() bool {
		counts := s.counts()
		return counts["unanswered"] == s.rows(`SELECT count(*) FROM rule_result WHERE rule = 'unanswered'`) &&
			counts["unanswered"] > 0 && counts["answered"] == 2*events
	})
	devices := s.rows(`SELECT count(DISTINCT device_id) FROM rule_result WHERE rule = 'pairs'`)
	s.until("each device has an alert", func() bool { return s.rows(ruleAlerts) == devices })
	s.leadsToItsEvents("tens")
	s.stop()
	if n := s.rows(ruleAlerts); n != devices {
		t.Errorf("%d devices have %d alerts open", devices, n)
	}
	if got := s.told(); !maps.Equal(got, want) {
		t.Errorf("told %v, stored %v", got, want)
	}
	s.accountedFor(want)
	s.paired(want)
}

// paired fails unless each device has a match for each two of its events.
func (s *system) paired(windows tens) {
	s.t.Helper()
	events := map[string]int{}
	for key, w := range windows {
		device, n := "", 0
		_, err := fmt.Sscanf(key+" "+w, "%s %d %d events", &device, new(int64), &n)
		if err != nil {
			s.t.Fatalf("%s: %q: %v", key, w, err)
		}
		events[device] += n
	}
	matches := map[string]int{}
	s.control(func(db *sql.DB) error {
		rows, err := db.Query(`SELECT device_id, count(*) FROM rule_result WHERE rule = 'pairs' GROUP BY device_id`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var device string
			var n int
			if err := rows.Scan(&device, &n); err != nil {
				return err
			}
			matches[device] = n
		}
		return rows.Err()
	})
	for device, n := range events {
		if matches[device] != n/2 {
			s.t.Errorf("%s has %d events, and %d matches of two", device, n, matches[device])
		}
	}
}

// ruleAlerts counts the open alerts of the rule pairs.
const ruleAlerts = `SELECT count(*) FROM alert WHERE kind = 'rule' AND rule = 'pairs' AND state = 'open'`

// rows returns the number that a query of the control store selects.
func (s *system) rows(query string) (n int) {
	s.t.Helper()
	s.control(func(db *sql.DB) error { return db.QueryRow(query).Scan(&n) })
	return n
}

// counts returns, by rule, how many events the rules counted, from the tallies that reconcile uses.
func (s *system) counts() map[string]int {
	s.t.Helper()
	counts := map[string]int{}
	s.control(func(db *sql.DB) error {
		rows, err := db.Query(`SELECT tally FROM rule_position`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var text string
			var tally struct {
				Rules map[string]struct{ Counts map[string]int }
			}
			if err := rows.Scan(&text); err != nil {
				return err
			}
			if err := json.Unmarshal([]byte(text), &tally); err != nil {
				return err
			}
			for name, r := range tally.Rules {
				counts[name] += r.Counts["counted"]
			}
		}
		return rows.Err()
	})
	return counts
}

// accountedFor fails unless reconcile reports as many counted events as the windows hold and as many events of the
// join as there are results, and finds sampled results right.
func (s *system) accountedFor(windows tens) {
	s.t.Helper()
	out, err := s.weir("reconcile", "--data", s.data, "--json", "--sample", "300")
	var report struct {
		Sample struct{ Sampled, Right int }
		Rules  []struct {
			Rules []struct {
				Name   string
				Counts map[string]int
			}
		}
	}
	if err == nil {
		err = json.Unmarshal([]byte(out), &report)
	}
	if err != nil {
		s.t.Fatalf("reconciling: %v: %s", err, out)
	}
	if report.Sample.Right == 0 {
		s.t.Errorf("of results that were computed again none is right: %s", out)
	}
	counted, held, alone := 0, 0, 0
	for _, partition := range report.Rules {
		for _, r := range partition.Rules {
			switch r.Name {
			case "tens":
				counted += r.Counts["counted"]
			case "alone":
				alone += r.Counts["counted"]
			}
		}
	}
	s.control(func(db *sql.DB) error {
		told := 0
		err := db.QueryRow(`SELECT count(*) FROM rule_result WHERE rule = 'alone'`).Scan(&told)
		if err == nil && (told != alone || told == 0) {
			s.t.Errorf("the proof tells of %d events in the join, %d are told", alone, told)
		}
		return err
	})
	for key, w := range windows {
		n := 0
		if _, err := fmt.Sscanf(w, "%d events", &n); err != nil {
			s.t.Fatalf("%s: %q: %v", key, w, err)
		}
		held += n
	}
	if counted != held || held == 0 {
		s.t.Errorf("the proof tells of %d events counted, the windows hold %d", counted, held)
	}
}

// leadsToItsEvents queries the events of the last result of a rule, and checks that the lineage of one of them leads
// back to that result.
func (s *system) leadsToItsEvents(rule string) {
	s.t.Helper()
	var id string
	s.control(func(db *sql.DB) error {
		return db.QueryRow(`SELECT id FROM rule_result WHERE rule = $1 ORDER BY window_end DESC, id LIMIT 1`, rule).Scan(&id)
	})
	var found struct {
		Result struct{ Count int }
		Events []struct {
			Record string
			Event  struct {
				ID     string `json:"event_id"`
				Device string `json:"device_id"`
			}
		}
		Whole bool
	}
	s.get("/v1/rules/"+rule+"/results/"+id+"/events", s.key, &found)
	if !found.Whole || len(found.Events) == 0 || len(found.Events) != found.Result.Count {
		s.t.Fatalf("a result of %d events leads to %d, all of them: %v", found.Result.Count, len(found.Events), found.Whole)
	}
	var back struct {
		Stored []struct {
			Rules []struct {
				Rule, Outcome string
				Results       []struct{ ID string }
			}
		}
	}
	e := found.Events[0].Event
	s.get("/v1/events/"+e.ID+"/lineage?device="+e.Device, s.key, &back)
	for _, stored := range back.Stored {
		for _, r := range stored.Rules {
			for _, told := range r.Results {
				if r.Rule == rule && r.Outcome == "counted" && told.ID == id {
					return
				}
			}
		}
	}
	s.t.Errorf("the event %s of %s does not lead back to the result %s of %s: %+v", e.ID, e.Device, id, rule, back)
}

// rules runs `weir rules VERB` on the data of the running weir.
func (s *system) rules(verb string, args ...string) {
	s.t.Helper()
	out, err := s.weir(append([]string{"rules", verb, "--data", s.data}, args...)...)
	if err != nil {
		s.t.Fatalf("weir rules %s %v: %v: %s", verb, args, err, out)
	}
}

// file writes a file into the scratch folder and returns its path.
func (s *system) file(name, text string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// told returns the newest revision of each result of the rule tens.
func (s *system) told() tens {
	s.t.Helper()
	found := tens{}
	s.control(func(db *sql.DB) error {
		rows, err := db.Query(`SELECT result FROM rule_result r WHERE rule = 'tens'
			AND NOT EXISTS (SELECT 1 FROM rule_result n WHERE n.id = r.id AND n.revision > r.revision)`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var text string
			if err := rows.Scan(&text); err != nil {
				return err
			}
			var r struct {
				Key    map[string]string `json:"key"`
				Start  time.Time         `json:"window_start"`
				Values struct {
					N, Temps int
					Hottest  *float64
				}
			}
			if err := json.Unmarshal([]byte(text), &r); err != nil {
				return err
			}
			found[name(r.Key["device_id"], r.Start)] = hold(r.Values.N, r.Values.Temps, r.Values.Hottest)
		}
		return rows.Err()
	})
	return found
}

func name(device string, start time.Time) string { return fmt.Sprintf("%s %d", device, start.Unix()) }

func hold(n, temps int, hottest *float64) string {
	if hottest == nil {
		return fmt.Sprintf("%d events", n)
	}
	return fmt.Sprintf("%d events, %d of %g at most", n, temps, *hottest)
}

// storedTens computes the windows from the raw store, without weir's rule engine.
func (s *system) storedTens() tens {
	s.t.Helper()
	out, err := s.weir("query", "--data", s.data, "--fields", "event")
	if err != nil {
		s.t.Fatal(err)
	}
	type sums struct {
		n, temps int
		hottest  *float64
	}
	found := map[string]*sums{}
	lines := bufio.NewScanner(strings.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct {
			Event struct {
				Device    string    `json:"device_id"`
				Timestamp time.Time `json:"timestamp"`
				Metrics   map[string]float64
			}
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			s.t.Fatalf("%v: %s", err, lines.Bytes())
		}
		e := line.Event
		key := name(e.Device, e.Timestamp.Truncate(10*time.Second))
		w := found[key]
		if w == nil {
			w = &sums{}
			found[key] = w
		}
		w.n++
		if v, there := e.Metrics["cpu_temp"]; there {
			if w.temps++; w.hottest == nil || v > *w.hottest {
				w.hottest = &v
			}
		}
	}
	all := tens{}
	for key, w := range found {
		all[key] = hold(w.n, w.temps, w.hottest)
	}
	if len(all) < 50 {
		s.t.Fatalf("only %d windows have events", len(all))
	}
	return all
}
