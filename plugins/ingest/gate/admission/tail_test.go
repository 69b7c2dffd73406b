package admission

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/platform/kafka"
	"weir/tests/integration/testlog"
)

// A transaction's marker at the end of the log is no event that waits: a group
// never comes to it, and the gate would close for ever.
func TestBacklog_AMarkerAtTheEndIsNoBacklog(t *testing.T) {
	k := testlog.New(t)
	client, err := kgo.NewClient(append(k.Client.Opts(), kgo.TransactionalID("tail"))...)
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
	log, err := kafka.New(k.Addrs, nil, kafka.Login{})
	if err != nil {
		t.Fatal(err)
	}
	known, now := tails{}, time.Now()
	left := func(committed int64, at time.Time) int64 {
		t.Helper()
		p := kafka.Partition{Topic: "raw-events"}
		group := offsets{p: committed}
		if err := known.pass(t.Context(), log, at, "weir-raw", offsets{p: 0}, offsets{p: 4}, group); err != nil {
			t.Fatal(err)
		}
		return 4 - group[p]
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
