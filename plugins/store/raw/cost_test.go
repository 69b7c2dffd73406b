package raw

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/plugins/operate/cost"
	"weir/plugins/store/lake"
)

// costEvent is an event of some metrics, whose readings move slowly, with names
// and a text of so many bytes.
func costEvent(r *rand.Rand, device string, at time.Time, metrics, name, text int, level []float64) string {
	var b strings.Builder
	hi, lo := r.Uint64(), r.Uint64()
	fmt.Fprintf(&b, `{"event_id":"%08x-%04x-4%03x-8%03x-%012x","device_id":%q,"device_firmware_version":"2.1.0",`,
		hi>>32, hi>>16&0xffff, hi&0xfff, lo>>52, lo&0xffffffffffff, device)
	fmt.Fprintf(&b, `"timestamp":%q,"metrics":{`, at.UTC().Format("2006-01-02T15:04:05.000Z"))
	for m := range metrics {
		level[m] += r.Float64() - 0.5
		if m > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"%s%02d":%.2f`, strings.Repeat("m", name-2), m, 40+level[m]/10)
	}
	b.WriteByte('}')
	if text > 0 {
		words := strings.Fields(
			"boot link retry sensor flash voltage warning timeout modem signal calibrated restarted watchdog")
		b.WriteString(`,"diagnostics":{"log":"`)
		for start := b.Len(); b.Len() < start+text; {
			fmt.Fprintf(&b, "%s %d ", words[r.IntN(len(words))], r.IntN(1000))
		}
		b.WriteString(`"}`)
	}
	return b.String() + "}"
}

// The model of `weir cost` knows what a month of objects takes, within a tenth.
func TestCost_AMonthOfObjectsIsAsLargeAsTheModelSays(t *testing.T) {
	const perBatch, days = 500, 30
	for _, c := range []struct {
		what                string
		metrics, name, text int
	}{
		{"4 metrics, half the size", 4, 4, 0}, {"4 metrics", 4, 20, 90}, {"4 metrics, twice the size", 4, 20, 520},
		{"40 metrics, half the size", 40, 7, 0}, {"40 metrics", 40, 20, 210}, {"40 metrics, twice the size", 40, 20, 1790},
	} {
		t.Run(c.what, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			level := make([]float64, c.metrics)
			o := connected(t, lake.FileURL(t.TempDir()), "")
			sent, offset := 0, int64(0)
			for d := range days {
				batch := make(service.MessageBatch, perBatch)
				for i := range batch {
					at := noon.AddDate(0, 0, d-days).Add(time.Duration(i) * 2 * time.Millisecond)
					e := costEvent(r, fmt.Sprintf("sensor-%05d", r.IntN(50_000)), at, c.metrics, c.name, c.text, level)
					sent += len(e)
					batch[i] = record(i%10, offset/10, e, at.Add(time.Duration(r.IntN(50))*time.Millisecond))
					offset++
				}
				if err := o.WriteBatch(context.Background(), batch); err != nil {
					t.Fatal(err)
				}
			}
			size := 0.0
			if err := o.Store.List(context.Background(), "", func(b lake.Blob) error {
				size += float64(b.Size)
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			load := cost.Baseline()
			load.EventBytes = float64(sent) / (days * perBatch)
			load.Metrics, load.NameBytes = float64(c.metrics), float64(c.name)
			want := days * perBatch * load.RawBytes(perBatch)
			t.Logf("events of %.0f bytes: %.0f bytes, the model says %.0f: %+.1f %%", load.EventBytes, size, want,
				(want/size-1)*100)
			if math.Abs(want/size-1) > 0.1 {
				t.Errorf("the model is off by more than a tenth")
			}
		})
	}
}
