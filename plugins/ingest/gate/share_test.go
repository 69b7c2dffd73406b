package gate

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/plugins/ingest/gate/admission"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// Small requests that wait at the same time share a batch of the engine, and
// each is answered for its own events alone. A request with an event that the
// gate refuses has a batch of its own.
func TestGate_SmallRequestsShareABatchAndNotAVerdict(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	var mu sync.Mutex
	sizes := []int{}
	fail := false
	var once sync.Once
	g := loose(t, "", func(batch service.MessageBatch) error {
		once.Do(func() {
			close(entered)
			<-release
		})
		mu.Lock()
		defer mu.Unlock()
		sizes = append(sizes, len(batch))
		if fail {
			return errors.New("down")
		}
		_, err := checker{}.ProcessBatch(context.Background(), batch)
		return err
	})
	post := func(body string) reply {
		r := httptest.NewRequest("POST", "/v1/events", strings.NewReader(body))
		r.Header.Set("X-API-Key", "good")
		w := httptest.NewRecorder()
		g.ServeHTTP(w, r)
		out := reply{status: w.Code, header: w.Header(), body: w.Body.String()}
		if err := decode(w.Body.Bytes(), &out); err != nil {
			t.Error(err)
		}
		return out
	}
	var clients sync.WaitGroup
	clients.Go(func() { post(goodEvent) })
	<-entered
	for i := range 30 { // each has its bad event at another place
		clients.Go(func() {
			events := []string{goodEvent, goodEvent, goodEvent}
			events[i%3] = fmt.Sprintf(`{"event_id":"bad-%d"}`, i)
			r := post("[" + strings.Join(events, ",") + "]")
			if r.status != 207 || *r.Accepted != 2 || len(r.Events) != 3 {
				t.Errorf("%d %s", r.status, r.body)
				return
			}
			for n, e := range r.Events {
				if (e.Status == 400) != (n == i%3) || n == i%3 && *e.EventID != fmt.Sprintf("bad-%d", i) {
					t.Errorf("request %d, event %d: %+v", i, n, e)
				}
			}
		})
	}
	clients.Go(func() {
		if r := post(`[` + goodEvent + `,{"x":"` + strings.Repeat("y", 70_000) + `"}]`); r.status != 207 {
			t.Errorf("%d %s", r.status, r.body)
		}
	})
	time.Sleep(300 * time.Millisecond) // all of them wait
	close(release)
	clients.Wait()
	total, own := 0, false
	for _, n := range sizes {
		total += n
		own = own || n == 2
	}
	if total != 1+90+2 || len(sizes) > 6 || !own {
		t.Errorf("batches of %v", sizes)
	}

	fail = true
	for range 5 {
		clients.Go(func() {
			if r := post(goodEvent); r.status != 503 {
				t.Errorf("%d %s", r.status, r.body)
			}
		})
	}
	clients.Wait()
	if now := g.admit.InFlight(); now != (admission.Load{}) {
		t.Errorf("%+v stays in flight", now)
	}
}
