package cost

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
)

// record is about what an event of the baseline is within a batch of the log.
func record(r *rand.Rand, i int) []byte {
	at := time.Date(2026, 11, 27, 12, 0, 0, r.IntN(1e9), time.UTC).Add(time.Duration(i) * time.Millisecond)
	device := fmt.Sprintf("device-%05d", r.IntN(50_000))
	var id uuid.UUID
	for i := range id {
		id[i] = byte(r.Uint32())
	}
	b := append([]byte{0, byte(i), byte(i), 0}, device...)
	b = fmt.Appendf(b, `{"event_id":"%s","device_id":"%s","device_firmware_version":"2.%d.%d","timestamp":"%s","metrics":`+
		`{"cpu_temp":%.2f,"battery_voltage":%.2f,"vibration":%.2f,"pressure":%.2f}}`, id, device, r.IntN(3), r.IntN(9),
		at.Format(time.RFC3339Nano), 50+r.Float64()*20, 3+r.Float64(), r.Float64(), 100+r.Float64()*3)
	return fmt.Appendf(b, "\x06\x14weir_fleet\x0eplant-1 weir_received_atH%s%06d%03dZ\x16weir_schema\x16telemetry/2",
		at.Format("2006-01-02T15:04:05.000000"), r.IntN(1e6), 100+r.IntN(900)) // the digits of its request's id
}

// What zstd leaves of a batch of so many records, the batch's own head included.
func TestCost_ZstdLeavesWhatTheModelSays(t *testing.T) {
	const head = 61
	zstd, err := kgo.DefaultCompressor(kgo.ZstdCompression())
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 3, 5, 10, 20, 100} {
		plain, left := 0, 0
		for range 400/n + 1 {
			var batch []byte
			for i := range n {
				batch = append(batch, record(r, i)...)
			}
			out, _ := zstd.Compress(new(bytes.Buffer), batch)
			plain, left = plain+len(batch)+head, left+len(out)+head
		}
		got, want := float64(left)/float64(plain), zstdShare(float64(n))
		if math.Abs(got-want) > 0.1*want {
			t.Errorf("of batches of %d records zstd leaves %.3f, and the model says %.3f", n, got, want)
		}
	}
}
