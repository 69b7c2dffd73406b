package browser

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/heapprofiler"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// soakViewers look at the overview beside the page.
const soakViewers = 20

// Under load, with as many who look, neither weir nor the page grows, and who
// leaves leaves nothing behind. WEIR_SOAK says for how long, ten minutes by make
// soak; then it also measures what looking costs, at WEIR_SOAK_RATE events a second.
func TestConsole_NothingGrowsWhileItIsLookedAt(t *testing.T) {
	length, rate, long := 9*time.Second, "200", os.Getenv("WEIR_SOAK") != ""
	if long {
		var err error
		if length, err = time.ParseDuration(os.Getenv("WEIR_SOAK")); err != nil || length < 3*time.Second {
			t.Fatalf("WEIR_SOAK=%s: expected a duration, such as 10m", os.Getenv("WEIR_SOAK"))
		}
		if given := os.Getenv("WEIR_SOAK_RATE"); given != "" {
			rate = given
		}
	}
	w := start(t)
	p := newTab(t, w)
	p.signIn(w.admin)
	if long {
		w.cost(rate, length/8) // while the page shows nothing live
	}
	p.open("/")
	w.send("--devices", "10", "--prefix", "first", "--events", "100")
	p.says("It adds up.")
	leave := w.lookedAt(soakViewers)
	var load sync.WaitGroup
	load.Go(func() { w.measured(rate, length) })

	// The first third is for what is made once.
	var first, last state
	begin := time.Now()
	for n := 0; time.Since(begin) < length; n++ {
		now := w.state()
		t.Logf("%s: %+v", time.Since(begin).Round(time.Second), now)
		if n == 0 || time.Since(begin) < length/3 { // however long the first takes
			first = first.most(now)
			p.heap(&first)
		} else if time.Since(begin) > length*2/3 {
			last = last.least(now)
		}
		time.Sleep(length / 18)
	}
	p.heap(&last)
	load.Wait()
	t.Logf("first third: %+v, last third: %+v", first, last)
	if last.goroutines > first.goroutines+100 {
		t.Errorf("goroutines grew from %d to %d", first.goroutines, last.goroutines)
	}
	if grown := last.heap - first.heap; grown > first.heap+64<<20 {
		t.Errorf("weir's heap grew by %d bytes", grown)
	}
	if grown := last.page - first.page; grown > first.page/2+8<<20 {
		t.Errorf("the page's heap grew by %d bytes", grown)
	}
	if last.nodes > first.nodes+first.nodes/2+200 {
		t.Errorf("the page grew from %d elements to %d", first.nodes, last.nodes)
	}
	with := w.state().goroutines
	leave()
	w.await("who has left is forgotten", func() bool { return w.state().goroutines <= with-soakViewers })
}

// cost measures in turn with nobody who looks, and with viewers. What a busy
// machine makes of single answers is told, and not judged.
func (w *weir) cost(rate string, length time.Duration) {
	w.t.Helper()
	var alone, looked phase
	for range 2 {
		alone = alone.add(w.measured(rate, length))
		leave := w.lookedAt(soakViewers)
		looked = looked.add(w.measured(rate, length))
		leave()
	}
	w.t.Logf("twice %s at %s events a second: alone %+v, while %d look %+v", length, rate, alone, soakViewers, looked)
	if looked.cpu > alone.cpu*1.25 { // five times what is aimed at
		w.t.Errorf("looking costs too much CPU: %+v alone, %+v while %d look", alone, looked, soakViewers)
	}
}

// state is how large weir and the page are.
type state struct {
	goroutines, heap int64
	page, nodes      int64
}

func (s state) most(o state) state {
	return state{max(s.goroutines, o.goroutines), max(s.heap, o.heap), s.page, s.nodes}
}

func (s state) least(o state) state {
	if s.goroutines == 0 {
		return o
	}
	return state{min(s.goroutines, o.goroutines), min(s.heap, o.heap), s.page, s.nodes}
}

// state reads weir's own metrics.
func (w *weir) state() state {
	return state{goroutines: int64(w.metric("go_goroutines")), heap: int64(w.metric("go_memstats_heap_alloc_bytes"))}
}

// metric is the value of a metric without labels.
func (w *weir) metric(name string) float64 {
	w.t.Helper()
	return w.sum(name, "")
}

// sum is the sum of a metric's series, of those whose labels have a part: 0 when
// there are none.
func (w *weir) sum(name, part string) (sum float64) {
	w.t.Helper()
	w.await("the metrics are there", func() bool {
		resp, err := http.Get("http://" + w.ops + "/metrics")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			return false
		}
		sum = 0
		for line := range strings.Lines(string(raw)) {
			line = strings.TrimSpace(line)
			at := strings.LastIndexByte(line, ' ') // values of labels may have blanks, too
			if at < 0 {
				continue
			}
			value := line[at+1:]
			labels, ok := strings.CutPrefix(line[:at], name)
			if !ok || labels != "" && labels[0] != '{' || !strings.Contains(labels, part) {
				continue
			}
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return false
			}
			sum += n
		}
		return true
	})
	return sum
}

// heap measures the page, when what nobody holds any more is gone.
func (p *tab) heap(s *state) {
	p.t.Helper()
	var used float64
	p.run(chromedp.ActionFunc(func(ctx context.Context) (err error) {
		if err = heapprofiler.CollectGarbage().Do(ctx); err != nil {
			return err
		}
		used, _, _, _, err = runtime.GetHeapUsage().Do(ctx)
		return err
	}), chromedp.Evaluate("document.querySelectorAll('*').length", &s.nodes))
	s.page = int64(used)
}

// phase is what events cost: seconds of CPU for a million, and milliseconds to
// the verdict.
type phase struct{ cpu, p99 float64 }

func (m phase) add(o phase) phase { return phase{m.cpu + o.cpu, m.p99 + o.p99} }

// measured sends for some time.
func (w *weir) measured(rate string, length time.Duration) (m phase) {
	cmd := exec.Command(w.bin, "fleet", "--url", "http://"+w.ingest, "--quiet", "--json", "--devices", "100", "--prefix",
		"soak", "--rate", rate, "--duration", length.String(), "--malformed", "1", "--duplicates", "5", "--retry")
	cmd.Env = append(os.Environ(), "WEIR_KEY="+w.key)
	before := w.metric("process_cpu_seconds_total")
	out, err := cmd.Output()
	if err != nil {
		w.t.Errorf("weir fleet: %v\n%s", err, out)
		return m
	}
	var told struct {
		Accepted float64
		Latency  struct{ P99 float64 } `json:"latency_ms"`
	}
	if err := json.Unmarshal(out, &told); err != nil || told.Accepted == 0 {
		w.t.Errorf("weir fleet says %s: %v", out, err)
		return m
	}
	return phase{(w.metric("process_cpu_seconds_total") - before) / told.Accepted * 1e6, told.Latency.P99}
}

// lookedAt lets so many look at the live overview, until they leave.
func (w *weir) lookedAt(viewers int) (leave func()) {
	w.t.Helper()
	ctx, end := context.WithCancel(context.Background())
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	var all, begun sync.WaitGroup
	for range viewers {
		begun.Add(1)
		all.Go(func() {
			first := sync.OnceFunc(begun.Done)
			defer first()
			for ctx.Err() == nil { // an answer ends when it is to be renewed
				r, err := http.NewRequestWithContext(ctx, "GET", "http://"+w.api+"/v1/live", nil)
				if err != nil {
					w.t.Error(err)
					return
				}
				r.Header.Set("X-API-Key", w.admin)
				resp, err := client.Do(r)
				if err != nil {
					continue
				}
				for lines := bufio.NewReaderSize(resp.Body, 64<<10); ; {
					line, err := lines.ReadString('\n')
					if strings.HasPrefix(line, "event: overview") {
						first()
					}
					if err != nil {
						break
					}
				}
				resp.Body.Close()
			}
		})
	}
	begun.Wait()
	leave = sync.OnceFunc(func() { end(); all.Wait() })
	w.t.Cleanup(leave)
	return leave
}
