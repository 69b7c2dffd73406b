package consumer

import (
	"testing"
	"time"

	"weir/internal/platform/kafka"
)

// What a group commits says for how long its store gathers: a gate that was not told
// can ask for it.
func TestLogInput_CommitsSayForHowLongTheStoreGathers(t *testing.T) {
	b := newBench(t, 1)
	b.write(10, 0)
	in := b.join("period: 70s")
	b.ack(b.must(in))
	b.eventually(map[int32]int64{0: 10})
	commits, err := b.admin.Commits(t.Context(), "g")
	if got := commits[kafka.Partition{Topic: "events"}]; err != nil || got != (kafka.Commit{Offset: 10,
		Period: 70 * time.Second, Says: true}) {
		t.Errorf("%+v %v", commits, err)
	}
}
