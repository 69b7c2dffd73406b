package kafka

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestPositions_TellWhereTheLogAndItsGroupsStand(t *testing.T) {
	log, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "events"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	client, err := kgo.NewClient(kgo.SeedBrokers(log.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx := t.Context()
	at := time.Now().Add(-time.Minute)
	for i := range 5 {
		r := &kgo.Record{Topic: "events", Value: []byte("x"), Timestamp: at.Add(time.Duration(i) * 10 * time.Second)}
		if err := client.ProduceSync(ctx, r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	p := Positions{kadm.NewClient(client)}
	zero, one := Partition{"events", 0}, Partition{"events", 1}
	if zero.String() != "events/0" {
		t.Error(zero.String())
	}
	check := func(what string, got map[Partition]int64, err error, first, second int64) {
		t.Helper()
		if err != nil || len(got) != 2 || got[zero] != first || got[one] != second {
			t.Errorf("%s: %v, %v; want %d and %d", what, got, err, first, second)
		}
	}
	got, err := p.Starts(ctx, "events")
	check("starts", got, err, 0, 0)
	got, err = p.Ends(ctx, "events")
	check("ends", got, err, 5, 0)
	got, err = p.After(ctx, at.Add(25*time.Second), "events")
	if err != nil || got[zero] != 3 {
		t.Errorf("after: %v, %v", got, err)
	}
	if got, err := p.Committed(ctx, "nobody"); err != nil || len(got) != 0 {
		t.Errorf("a group that never was: %v, %v", got, err)
	}
	var offsets kadm.Offsets
	offsets.AddOffset("events", 0, 4, -1)
	if err := p.Admin.CommitAllOffsets(ctx, "readers", offsets); err != nil {
		t.Fatal(err)
	}
	if got, err := p.Committed(ctx, "readers"); err != nil || len(got) != 1 || got[zero] != 4 {
		t.Errorf("committed: %v, %v", got, err)
	}
	if got, err := p.Ends(ctx, "events", "other"); err == nil {
		t.Errorf("a topic that is not there: %v", got)
	}
}
