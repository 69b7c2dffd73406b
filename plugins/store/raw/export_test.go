package raw

import (
	"bytes"
	"context"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestRaw_AnExportHasEveryEventAndEndsAtItsLimit(t *testing.T) {
	o, rows := history(t, rand.New(rand.NewPCG(41, 1)), "")
	for _, test := range []struct {
		e     Export
		lines int
	}{
		{Export{Format: "ndjson"}, len(rows)},
		{Export{Format: "csv", Fields: "device_id,coordinates"}, len(rows) + 1},
		{Export{Format: "ndjson", Limit: 7, Fields: "event"}, 7},
	} {
		var out bytes.Buffer
		stats, err := NewReader(o.Store).Export(context.Background(), test.e, &out)
		if err != nil || strings.Count(out.String(), "\n") != test.lines || stats.Events < int64(test.lines-1) {
			t.Errorf("%+v: %d lines, %+v, %v", test.e, strings.Count(out.String(), "\n"), stats, err)
		}
	}
	for _, e := range []Export{{Format: "json"}, {Format: "csv", Fields: "nope"}} {
		if _, err := NewReader(o.Store).Export(context.Background(), e, &bytes.Buffer{}); err == nil {
			t.Errorf("%+v was accepted", e)
		}
	}
}
