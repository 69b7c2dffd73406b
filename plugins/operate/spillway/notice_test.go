package spillway

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// A group that has not joined at the first look is no complaint: streams start
// together. One that is still not there is told once, and again when it has been.
func TestSpillway_AGroupThatNeverCameIsToldOnce(t *testing.T) {
	var said bytes.Buffer
	in := &input{absent: map[string]int{}, log: service.NewLoggerFromSlog(slog.New(slog.NewTextHandler(&said, nil)))}
	for i, want := range []int{0, 1, 1, 1} {
		in.unknown("late")
		if n := strings.Count(said.String(), "has never committed"); n != want {
			t.Errorf("after %d looks it is told %d times", i+1, n)
		}
	}
	in.known("late")
	in.unknown("late")
	if in.unknown("late"); strings.Count(said.String(), "has never committed") != 2 {
		t.Errorf("a group that was there is not told of again:\n%s", &said)
	}
}
