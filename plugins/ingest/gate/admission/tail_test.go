package admission

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/platform/kafka"
)

// A transaction's marker at the end of the log is no event that waits: a group
// never comes to it, and the gate would close for ever.
func TestBacklog_AMarkerAtTheEndIsNoBacklog(t *testing.T) {
	k := newKafka(t)
	client, err := kgo.NewClient(append(k.client.Opts(), kgo.TransactionalID("tail"))...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	transaction := func(commit bool) {
		t.Helper()
		if err := client.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "raw-events",
			Value: []byte("x")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := client.EndTransaction(t.Context(), kgo.TransactionEndTry(commit)); err != nil {
			t.Fatal(err)
		}
	}
	transaction(true)  // 0, and 1
	transaction(false) // 2, and 3
	log, err := kafka.New(k.addrs, nil, kafka.Login{})
	if err != nil {
		t.Fatal(err)
	}
	known, now := tails{}, time.Now()
	left := func(committed int64, at time.Time) int64 {
		t.Helper()
		group := offsets{0: committed}
		if err := known.pass(t.Context(), log, at, "raw-events", "weir-raw", offsets{0: 0}, offsets{0: 4},
			group); err != nil {
			t.Fatal(err)
		}
		return 4 - group[0]
	}
	if n := left(1, now); n != 3 {
		t.Errorf("at first, %d are waiting", n)
	}
	if n := left(1, now.Add(tailStill)); n != 0 {
		t.Errorf("markers and what was aborted: %d are waiting", n)
	}
	if n := left(0, now); n != 4 {
		t.Errorf("with an event, %d are waiting", n)
	}
	if n := left(0, now.Add(tailStill)); n != 4 {
		t.Errorf("an event that a group does not come to counts: %d are waiting", n)
	}
}
