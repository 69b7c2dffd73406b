package simulate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/event"
)

func mustRun(t *testing.T, conf Config) *Summary {
	t.Helper()
	s, err := Run(context.Background(), conf)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type journalLine struct {
	Type    string          `json:"type"`
	Seq     int64           `json:"seq"`
	Attempt int             `json:"attempt"`
	Kind    Kind            `json:"kind"`
	ID      string          `json:"event_id"`
	Event   json.RawMessage `json:"event"`
	Verdict Verdict         `json:"verdict"`
	Code    string          `json:"code"`
	Status  int             `json:"status"`
}

func readJournal(t *testing.T, b []byte) (lines []journalLine) {
	t.Helper()
	for line := range bytes.Lines(b) {
		var l journalLine
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatalf("journal line %s: %v", line, err)
		}
		lines = append(lines, l)
	}
	return lines
}

func TestSimulate_JournalAccountsForEveryEvent(t *testing.T) {
	g := newFakeGate(t)
	var journal bytes.Buffer
	conf := base(g)
	conf.Events = 5000
	conf.Batch = 25
	conf.Journal = &journal
	conf.Shares = Shares{Duplicates: 0.05, Malformed: 0.05, Late: 0.05, ClockAhead: 0.05}
	s := mustRun(t, conf)
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	if s.Sent != 5000 || s.Accepted+s.Rejected != 5000 || s.Accepted != int64(len(g.accepted)) {
		t.Fatalf("sent %d, accepted %d (gate: %d), rejected %d; expected 5000 in all", s.Sent, s.Accepted, len(g.accepted),
			s.Rejected)
	}
	kinds, sent, verdicts := map[Kind]int{}, map[int64]journalLine{}, 0
	lines := readJournal(t, journal.Bytes())
	for _, l := range lines {
		switch l.Type {
		case "sent":
			if _, twice := sent[l.Seq]; twice {
				t.Fatalf("seq %d was sent twice", l.Seq)
			}
			sent[l.Seq] = l
			kinds[l.Kind]++
		case "verdict":
			verdicts++
			was, ok := sent[l.Seq]
			if !ok || was.ID != l.ID {
				t.Fatalf("verdict for seq %d, event %q, which was not sent before", l.Seq, l.ID)
			}
			if (was.Kind == kindMalformed) != (l.Verdict == verdictRejected) {
				t.Fatalf("%s event was %s: %s", was.Kind, l.Verdict, was.Event)
			}
		}
	}
	if len(sent) != 5000 || verdicts != 5000 || lines[0].Type != "run" || lines[len(lines)-1].Type != "end" {
		t.Fatalf("%d sent, %d verdicts, from %q to %q", len(sent), verdicts, lines[0].Type, lines[len(lines)-1].Type)
	}
	for _, k := range allKinds()[1:] {
		if kinds[k] < 150 || kinds[k] > 350 {
			t.Errorf("%d events of 5000 are %s, expected about 250", kinds[k], k)
		}
	}
}

func TestSimulate_DuplicatesAreByteForByte(t *testing.T) {
	g := newFakeGate(t)
	var journal bytes.Buffer
	conf := base(g)
	conf.Events, conf.Journal, conf.Shares = 2000, &journal, Shares{Duplicates: 0.2}
	mustRun(t, conf)
	first, duplicates := map[string]string{}, 0
	for _, l := range readJournal(t, journal.Bytes()) {
		if l.Type != "sent" {
			continue
		}
		was, again := first[l.ID]
		if again != (l.Kind == kindDuplicate) || again && was != string(l.Event) {
			t.Fatalf("event %s of kind %s: first %q, now %q", l.ID, l.Kind, was, l.Event)
		}
		first[l.ID] = string(l.Event)
		if again {
			duplicates++
		}
	}
	if duplicates == 0 {
		t.Fatal("no duplicates were sent")
	}
}

func TestSimulate_RetriesKeepTheEventAndHonourRetryAfter(t *testing.T) {
	g := newFakeGate(t)
	var n atomic.Int64
	var waited atomic.Int64
	start := time.Now()
	g.before = func(w http.ResponseWriter, r *http.Request) bool {
		switch n.Add(1) {
		case 1:
			refuse(w, 429, 1)
		case 2:
			waited.Store(int64(time.Since(start)))
			panic(http.ErrAbortHandler) // the connection is cut, no answer
		case 3:
			refuse(w, 503, 1)
		default:
			return false
		}
		return true
	}
	var journal bytes.Buffer
	conf := base(g)
	conf.Connections, conf.Events, conf.Batch, conf.Journal = 1, 10, 10, &journal
	s := mustRun(t, conf)
	if s.Accepted != 10 || s.Retried != 30 || s.Sent != 10 || s.Failed != 0 || s.Err() != nil {
		t.Fatalf("accepted %d, retried %d, sent %d, failed %d, %v", s.Accepted, s.Retried, s.Sent, s.Failed, s.Err())
	}
	if d := time.Duration(waited.Load()); d < time.Second || d > 1500*time.Millisecond {
		t.Errorf("came back after %v, was told one second", d)
	}
	ids, verdicts := map[string]int{}, ""
	for _, l := range readJournal(t, journal.Bytes()) {
		if l.Type == "sent" {
			ids[l.ID]++
		}
		if l.Type == "verdict" && l.Seq == 0 {
			verdicts += string(l.Verdict) + " "
		}
	}
	if verdicts != "refused unknown unknown accepted " {
		t.Errorf("verdicts of one event: %s", verdicts)
	}
	for id, n := range ids {
		if n != 4 {
			t.Errorf("event %s was sent %d times, expected 4", id, n)
		}
	}
}

func TestSimulate_RetryIsBounded(t *testing.T) {
	g := newFakeGate(t)
	g.before = func(w http.ResponseWriter, r *http.Request) bool { refuse(w, 503, 1); return true }
	conf := base(g)
	conf.Events, conf.RetryFor = 20, 1500*time.Millisecond
	s := mustRun(t, conf)
	if s.Failed != 20 || s.Accepted != 0 || s.Codes["http_503"] != 20 {
		t.Fatalf("failed %d, codes %v", s.Failed, s.Codes)
	}
	if s.Err() == nil {
		t.Fatal("a run without a single verdict must be an error")
	}
}

func TestSimulate_NobodyListeningIsRefusedNotUnknown(t *testing.T) {
	g := newFakeGate(t)
	conf := base(g)
	conf.Events, conf.Retry = 10, false
	g.Close()
	s := mustRun(t, conf)
	if s.Codes["unreachable"] != 10 || s.Kinds[0].Verdict != verdictRefused {
		t.Fatalf("codes %v, kinds %v", s.Codes, s.Kinds)
	}
}

// A gate that stalls for half a second while 200 requests fall due: a closed
// loop would see a few slow requests, an open one sees all that had to wait.
func TestSimulate_LatencyCountsFromWhenAnEventWasDue(t *testing.T) {
	g := newFakeGate(t)
	var once atomic.Bool
	g.before = func(http.ResponseWriter, *http.Request) bool {
		if once.CompareAndSwap(false, true) {
			time.Sleep(500 * time.Millisecond)
		}
		return false
	}
	conf := base(g)
	conf.Connections, conf.Batch, conf.Rate, conf.Events = 1, 1, 400, 320
	s := mustRun(t, conf)
	if s.Latency.P50 < 50 || s.Latency.Max < 450 {
		t.Errorf("most events were due during the stall, and latency is %+v", s.Latency)
	}
	if s.Response.P50 > 50 {
		t.Errorf("the answers themselves took %+v", s.Response)
	}
}

func TestSimulate_LatenciesLeaveOutTheWarmUp(t *testing.T) {
	g := newFakeGate(t)
	var once atomic.Bool
	g.before = func(http.ResponseWriter, *http.Request) bool {
		if once.CompareAndSwap(false, true) {
			time.Sleep(500 * time.Millisecond)
		}
		return false
	}
	conf := base(g)
	conf.Connections, conf.Batch, conf.Rate, conf.Events, conf.Warmup = 1, 1, 100, 10, time.Hour
	s := mustRun(t, conf)
	if s.Accepted != 10 || s.Latency.Max != 0 || s.Response.Max != 0 {
		t.Errorf("%d events accepted, latencies %+v and %+v; expected 10 and none", s.Accepted, s.Latency, s.Response)
	}
	conf.Warmup = time.Millisecond // the first event was due before
	if s = mustRun(t, conf); s.Accepted != 10 || s.Latency.Max == 0 {
		t.Errorf("%d events accepted, latencies %+v; expected 10, and those after the warm-up", s.Accepted, s.Latency)
	}
}

func TestSimulate_RateIsKept(t *testing.T) {
	g := newFakeGate(t)
	conf := base(g)
	conf.Rate, conf.Events, conf.Duration, conf.Connections = 500, 0, time.Second, 8
	s := mustRun(t, conf)
	if math.Abs(float64(s.Sent)-500) > 50 {
		t.Fatalf("sent %d in a second at 500 a second", s.Sent)
	}
}

func TestSimulate_SeriesIsReplayedInOrderAndExactly(t *testing.T) {
	for _, devices := range []int{0, 30} {
		g := newFakeGate(t)
		var csv strings.Builder
		csv.WriteString("timestamp,value\n")
		at := time.Date(2013, 12, 2, 21, 15, 0, 0, time.UTC)
		for i := range 200 {
			csv.WriteString(at.Add(time.Duration(i)*5*time.Minute).Format(time.DateTime) + ",7" + strings.Repeat("3", i%9) +
				".96732207\n")
		}
		s, err := ReadSeries("machine", strings.NewReader(csv.String()))
		if err != nil {
			t.Fatal(err)
		}
		end := time.Now().Truncate(time.Second)
		s.EndAt(end)
		conf := base(g)
		conf.Devices, conf.Series, conf.Events = devices, []Series{s}, 0
		if devices > 0 {
			conf.Events = 2000
		}
		if sum := mustRun(t, conf); sum.Err() != nil {
			t.Fatal(sum.Err())
		}
		n := 0
		for _, raw := range g.accepted {
			var e event.Event
			if err := event.Parse(raw, &e); err != nil {
				t.Fatal(err)
			}
			if e.Device != "machine" {
				continue
			}
			if want := end.Add(time.Duration(n-199) * 5 * time.Minute); !e.Time.Equal(want) {
				t.Fatalf("reading %d is of %v, expected %v", n, e.Time, want)
			}
			if got := string(e.Metrics[0].Raw); got != s.Readings[n].Value || e.Metrics[0].Name != "cpu_temp" {
				t.Fatalf("reading %d is %s, expected %s", n, got, s.Readings[n].Value)
			}
			n++
		}
		if n != 200 {
			t.Errorf("with %d devices, %d readings of 200 arrived", devices, n)
		}
	}
}

func TestSimulate_Formats(t *testing.T) {
	for _, f := range []Format{JSON, NDJSON} {
		for _, batch := range []int{1, 7} {
			g := newFakeGate(t)
			conf := base(g)
			conf.Format, conf.Batch, conf.Events = f, batch, 50
			if s := mustRun(t, conf); s.Accepted != 50 {
				t.Errorf("%s in batches of %d: accepted %d of 50: %v", f, batch, s.Accepted, s.Err())
			}
		}
	}
}

func TestSimulate_InterruptedRunAccountsForWhatItSent(t *testing.T) {
	g := newFakeGate(t)
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	conf := base(g)
	conf.Events, conf.Duration, conf.Rate = 0, time.Hour, 1000
	s, err := Run(ctx, conf)
	if err != nil || s.Sent == 0 || s.Sent != s.Accepted || s.Sent != int64(len(g.accepted)) {
		t.Fatalf("sent %d, accepted %d, gate has %d: %v", s.Sent, s.Accepted, len(g.accepted), err)
	}
}

type failingWriter struct{ left int }

func (w *failingWriter) Write(b []byte) (int, error) {
	if w.left--; w.left < 0 {
		return 0, io.ErrShortWrite
	}
	return len(b), nil
}

func TestSimulate_JournalThatCannotBeWrittenEndsTheRun(t *testing.T) {
	g := newFakeGate(t)
	conf := base(g)
	conf.Events, conf.Journal = 100_000, &failingWriter{left: 10}
	if _, err := Run(context.Background(), conf); err == nil || !strings.Contains(err.Error(), "writing the journal") {
		t.Fatalf("expected the journal's error, got %v", err)
	}
	if g.requests > 20 {
		t.Errorf("%d requests were sent without a journal", g.requests)
	}
}

func TestKey_ThatNobodyKnowsEndsTheRunAndIsSaidOnce(t *testing.T) {
	g := newFakeGate(t)
	g.before = func(w http.ResponseWriter, _ *http.Request) bool {
		refuse(w, http.StatusUnauthorized, 0)
		return true
	}
	conf := base(g)
	conf.Events, conf.Key = 5000, "weir_4711_secret"
	s, err := Run(context.Background(), conf)
	if !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), "4711") || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
	if s == nil || s.Requests > int64(conf.Connections) || s.Failed != s.Sent {
		t.Errorf("%+v", s)
	}
}
