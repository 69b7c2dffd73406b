package gate

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"weir/tests/integration/testlog"
)

// The gate measures the log, refuses while a group is behind, says why and for
// how long, and takes events again when the group has caught up.
func TestGate_BacklogInKafkaHoldsEventsBack(t *testing.T) {
	k := testlog.New(t)
	w := newWorld(t, fmt.Sprintf(`    backpressure:
      seed_brokers: [ "%s" ]
      topic: raw-events
      groups: [ weir-raw, weir-rollup ]
      max_records: 1000
      interval: 20ms`, strings.Join(k.Addrs, ",")))
	until := func(status int) reply {
		t.Helper()
		var r reply
		for range 250 {
			if r = w.post(goodEvent); r.status == status {
				return r
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Fatalf("never %d: %d %s", status, r.status, r.body)
		return r
	}
	until(202)
	k.Write(2000, time.Now())
	half := k.Ends() / 2
	k.Commit("weir-raw", half)
	k.Commit("weir-rollup", 10)
	r := until(429)
	for range 100 { // a measurement between the two commits names the other group
		if strings.Contains(r.Detail, "weir-rollup") {
			break
		}
		time.Sleep(20 * time.Millisecond)
		r = until(429)
	}
	if r.Type != "https://weir.dev/problems/backlog-full" || !strings.Contains(r.Detail, "weir-rollup") ||
		r.header.Get("Retry-After") == "" || r.header.Get("Retry-After") == "0" {
		t.Errorf("%v %s", r.header, r.body)
	}
	before := len(w.sink.all())
	for range 20 {
		if r := w.post(goodEvent); r.status != 429 {
			t.Errorf("%d %s", r.status, r.body)
		}
	}
	if n := len(w.sink.all()); n != before {
		t.Errorf("%d events of refused requests were queued", n-before)
	}
	k.Commit("weir-rollup", half)
	until(202)

	k.Close() // the broker is gone: the last decision stands
	time.Sleep(200 * time.Millisecond)
	if r := w.post(goodEvent); r.status != 202 {
		t.Errorf("%d %s", r.status, r.body)
	}
}
