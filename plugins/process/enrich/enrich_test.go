package enrich

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	_ "github.com/redpanda-data/connect/v4/public/components/io"
	_ "github.com/redpanda-data/connect/v4/public/components/pure"

	"weir/internal/event"
	"weir/internal/platform/sqldb"
	"weir/tests/integration/mmdb"
)

func processorOf(t testing.TB, yaml string) *processor {
	t.Helper()
	conf, err := spec().ParseYAML(yaml, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newProcessor(conf, service.MockResources())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return p
}

func through(t *testing.T, p *processor, raw ...string) (batch service.MessageBatch) {
	t.Helper()
	for _, one := range raw {
		batch = append(batch, service.NewMessage([]byte(one)))
	}
	out, err := p.ProcessBatch(t.Context(), batch)
	if err != nil || len(out) != 1 || len(out[0]) != len(raw) {
		t.Fatal(out, err)
	}
	return out[0]
}

func bytesOf(t *testing.T, m *service.Message) string {
	t.Helper()
	raw, err := m.AsBytes()
	if err != nil || m.GetError() != nil {
		t.Fatal(err, m.GetError())
	}
	return string(raw)
}

func TestEnrich_ASourceOfEachKind(t *testing.T) {
	dir := t.TempDir()
	mmdb.Write(t, filepath.Join(dir, "geo.mmdb"), map[string]any{"203.0.113.0/24": map[string]any{"country_code": "DE"}})
	db, err := sqldb.Open(t.Context(), "sqlite://"+dir+"/crm.db")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), `CREATE TABLE customer (id TEXT, plan TEXT, seats BIGINT);
		INSERT INTO customer VALUES ('u-1', 'gold', 7)`); err != nil {
		t.Fatal(err)
	}
	p := processorOf(t, `
deadline: 1m
lookups:
  - { name: region, key: '${! this.ip }', geo: '`+dir+`/geo.mmdb', result_map: 'root.country = this.country' }
  - { name: customer, key: '${! this.user }', sql: 'sqlite://`+dir+`/crm.db', query: 'SELECT plan, seats FROM customer WHERE id = $1',
      result_map: 'root.customer = this' }
  - name: made
    key: ${! this.user }
    result_map: root.made = this.of + " in " + root.country.or("nowhere")
    processors:
      - mapping: 'root.of = content().uppercase().string()'
`)
	for raw, want := range map[string]string{
		`{"ip":"203.0.113.7","user":"u-1"}`:         `{"country":"DE","customer":{"plan":"gold","seats":7},"ip":"203.0.113.7","made":"U-1 in DE","user":"u-1"}`,
		`{"ip":"192.0.2.1","user":"u-2"}`:           `{"ip":"192.0.2.1","made":"U-2 in nowhere","user":"u-2"}`,
		`{"ip":"no address", "n":1.50e+2}`:          `{"ip":"no address", "n":1.50e+2}`, // to the byte
		`no JSON`:                                   `no JSON`,
		`{"ip":"","user":null}`:                     `{"ip":"","user":null}`,
		`{"user":"x'; DROP TABLE customer --"}`:     `{"made":"X'; DROP TABLE CUSTOMER -- in nowhere","user":"x'; DROP TABLE customer --"}`,
		`{"ip":"203.0.113.9","user":"u-1","n":[1]}`: `{"country":"DE","customer":{"plan":"gold","seats":7},"ip":"203.0.113.9","made":"U-1 in DE","n":[1],"user":"u-1"}`,
	} {
		m := through(t, p, raw)[0]
		if got := bytesOf(t, m); got != want || event.Meta(m, event.HeaderEnrichFailed) != "" {
			t.Errorf("%s is %s, expected %s; failed %q", raw, got, want, event.Meta(m, event.HeaderEnrichFailed))
		}
	}
}

func TestEnrich_WrongConfigsAreRefused(t *testing.T) {
	const right = "name: a, key: x, result_map: 'root = this'"
	for _, wrong := range []string{"lookups: []", "lookups: [{ " + right + " }]",
		"lookups: [{ " + right + ", geo: x, sql: 'sqlite://y', query: z }]",
		"lookups: [{ " + right + ", sql: 'sqlite://y' }]", "lookups: [{ " + right + ", geo: x, query: z }]",
		"lookups: [{ name: A, key: x, result_map: 'root = this', geo: x }]",
		"deadline: 0s\nlookups: [{ " + right + ", geo: x }]",
		"lookups: [{ " + right + ", geo: x }, { " + right + ", geo: x }]",
		"lookups: [{ " + right + ", geo: x, max_in_flight: 0 }]", "lookups: [{ " + right + ", geo: x, redis: 'redis://h' }]",
		"lookups: [{ " + right + ", geo: x, redis_hash: true }]", "lookups: [{ " + right + ", redis: 'http://h' }]"} {
		conf, err := spec().ParseYAML(wrong, nil)
		if err != nil {
			continue
		}
		if _, err := newProcessor(conf, service.MockResources()); err == nil {
			t.Errorf("%s is taken", wrong)
		}
	}
}

// profiles is a server of profiles that misbehaves as told.
type profiles struct {
	mode  atomic.Pointer[string]
	asked atomic.Int64
	let   chan struct{} // closed when nobody hangs any more
}

func (s *profiles) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := s.asked.Add(1)
	id := strings.TrimPrefix(r.URL.Path, "/")
	hang := func() {
		select {
		case <-s.let:
		case <-r.Context().Done():
		}
	}
	switch mode := *s.mode.Load(); {
	case mode == "hangs", mode == "sometimes hangs" && n%100 == 0:
		hang()
	case mode == "fails":
		http.Error(w, "oops", http.StatusInternalServerError)
		return
	case mode == "garbage":
		_, _ = fmt.Fprint(w, "<html>")
		return
	}
	if id == "nobody" {
		http.NotFound(w, r)
		return
	}
	_, _ = fmt.Fprintf(w, `{"plan":"plan of %s"}`, id)
}

// Whatever a server of profiles does, every event passes, in time, and says
// whether it has what it should have; a server that is well again is used again.
func TestEnrich_EveryEventPassesWhateverTheSourceDoes(t *testing.T) {
	s := &profiles{let: make(chan struct{})}
	be := func(mode string) { s.mode.Store(&mode) }
	be("works")
	server := httptest.NewServer(s)
	defer server.Close()
	defer close(s.let)
	p := processorOf(t, `
deadline: 300ms
lookups:
  - name: profile
    key: ${! this.user }
    result_map: root.plan = this.plan
    timeout: 1s
    max_in_flight: 8
    processors:
      - http: { url: '`+server.URL+`/${! content() }', verb: GET, retries: 0, timeout: 1s, successful_on: [ 404 ] }
      - mapping: root = if @http_status_code == 404 { null }
`)
	user := 0
	// send sends events of new users, a few batches at a time, and returns how many had
	// a plan, how many had not since it failed, and the longest that a batch took.
	send := func(events int) (enriched, failed int, longest time.Duration) {
		var mu sync.Mutex
		var all sync.WaitGroup
		for range 4 {
			var raw []string
			for range events / 4 {
				user++
				raw = append(raw, fmt.Sprintf(`{"user":"u%d"}`, user))
			}
			all.Go(func() {
				began := time.Now()
				batch := through(t, p, raw...)
				took := time.Since(began)
				mu.Lock()
				defer mu.Unlock()
				longest = max(longest, took)
				for i, m := range batch {
					switch got := bytesOf(t, m); {
					case strings.Contains(got, `"plan":"plan of u`):
						enriched++
					case event.Meta(m, event.HeaderEnrichFailed) == "profile" && got == raw[i]:
						failed++
					default:
						t.Errorf("an event is %s", got)
					}
				}
			})
		}
		all.Wait()
		return enriched, failed, longest
	}
	// works waits until the server is used again.
	works := func() {
		t.Helper()
		be("works")
		for until := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			if enriched, _, _ := send(4); enriched == 4 {
				return
			}
			if time.Now().After(until) {
				t.Fatal("the server works, and is not asked")
			}
		}
	}
	works()
	for _, mode := range []string{"fails", "garbage", "hangs"} {
		be(mode)
		before := s.asked.Load()
		enriched, failed, longest := send(400)
		if enriched != 0 || failed != 400 || longest > 10*time.Second {
			t.Errorf("%s: %d have a plan, %d have not, a batch took %s", mode, enriched, failed, longest)
		}
		if asked := s.asked.Load() - before; asked > 40 {
			t.Errorf("%s: the server was asked %d times", mode, asked)
		}
		works()
	}
	be("sometimes hangs")
	if enriched, failed, _ := send(400); enriched+failed != 400 {
		t.Errorf("of 100, one hangs: %d have a plan, %d have not", enriched, failed)
	}
	works()
	before := s.asked.Load()
	for range 10 { // that there is none is an answer, and kept
		if m := through(t, p, `{"user":"nobody"}`)[0]; bytesOf(t, m) != `{"user":"nobody"}` ||
			event.Meta(m, event.HeaderEnrichFailed) != "" {
			t.Errorf("%s, failed %q", bytesOf(t, m), event.Meta(m, event.HeaderEnrichFailed))
		}
	}
	if asked := s.asked.Load() - before; asked != 1 {
		t.Errorf("asked %d times for nobody", asked)
	}
}

// An event whose answer cannot be written passes as it was.
func TestEnrich_AnAnswerThatDoesNotFitIsAFailure(t *testing.T) {
	p := processorOf(t, `
deadline: 1m
lookups:
  - { name: odd, key: x, result_map: 'root.a = this.b.number()', processors: [ { mapping: 'root.b = "text"' } ] }
  - { name: gone, key: x, result_map: 'root = deleted()', processors: [ { mapping: 'root.b = 1' } ] }
`)
	failed := service.NewMessage([]byte(`{"x":2}`))
	failed.SetError(context.Canceled)
	m := through(t, p, `{"x":1.0}`)[0]
	if bytesOf(t, m) != `{"x":1.0}` || event.Meta(m, event.HeaderEnrichFailed) != "odd,gone" {
		t.Errorf("%s, failed %q", bytesOf(t, m), event.Meta(m, event.HeaderEnrichFailed))
	}
	if out, err := p.ProcessBatch(t.Context(), service.MessageBatch{failed}); err != nil || out[0][0].GetError() == nil ||
		event.Meta(failed, event.HeaderEnrichFailed) != "" {
		t.Error("an event that had failed was looked up")
	}
}
