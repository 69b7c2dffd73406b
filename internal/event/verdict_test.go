package event

import (
	"slices"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// Verdicts know, of a request of any size, which events nobody has written.
func TestEvent_VerdictsTellWhatIsNotWritten(t *testing.T) {
	const n = 300
	var v Verdicts
	messages := make(service.MessageBatch, n)
	for i := range messages {
		messages[i] = service.NewMessage(nil)
		v.Attach(messages[i], i)
	}
	if missing := v.Unwritten(n); len(missing) != n {
		t.Fatalf("%d missing of %d", len(missing), n)
	}
	var want []int
	for i, msg := range slices.Backward(messages) {
		if i%7 == 0 || i == 63 || i == 64 {
			want = append(want, i)
			continue
		}
		RecordWritten(msg.Copy()) // its metadata goes with a copy
		RecordWritten(msg)
	}
	slices.Sort(want)
	if missing := v.Unwritten(n); !slices.Equal(missing, want) {
		t.Fatalf("%v missing, want %v", missing, want)
	}
	RecordWritten(service.NewMessage(nil)) // of no request
}
