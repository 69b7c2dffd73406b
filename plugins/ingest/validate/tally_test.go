package validate

import (
	"fmt"
	"strings"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// Names come from devices: a thousand of them, long ones too, are a hundred series
// and one for the others of each place, and none of their events is left out.
func TestTally_AThousandNamesAreAHundredSeries(t *testing.T) {
	c := newTally(service.MockResources().Metrics())
	c.awaiting = true // nothing is told while the test looks
	total := int64(0)
	for range 3 {
		for from := 0; from < 1000; from += 50 {
			b := c.batch()
			v := &verdict{}
			for i := range 50 {
				v.Metrics = append(v.Metrics, fmt.Appendf(nil, "made_up_%d", from+i))
				v.Fields = append(v.Fields, fmt.Appendf(nil, "%s_%d", strings.Repeat("x", i*2), from+i))
			}
			total += int64(len(v.Metrics) + len(v.Fields))
			b.add(v, "")
			b.done()
		}
	}
	sum := int64(0)
	for label, n := range c.unknown {
		sum += n
		if len(label.name) > 64 {
			t.Errorf("a label has %d characters", len(label.name))
		}
	}
	if sum != total || len(c.unknown) != namesCounted+2 {
		t.Errorf("%d of %d names are counted, in %d series", sum, total, len(c.unknown))
	}
}
