package raw

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/platform/text"
	"weir/plugins/store/lake"
)

const (
	crashEvents = 6000
	crashBatch  = 150
)

// writeFrom is the process that is killed: it stores the log from an offset on,
// and says after each batch how far the acknowledged offsets reach.
func writeFrom(t *testing.T, url string, from int64) {
	o := connected(t, url, "max_object_rows: 60")
	received, ok := text.ParseTime(os.Getenv("WEIR_TEST_CRASH_RECEIVED")) // the same at each delivery
	if !ok {
		t.Fatal("when were the events received?")
	}
	for from < crashEvents {
		var batch service.MessageBatch
		for i := from; i < min(from+crashBatch, crashEvents); i++ {
			day := noon.AddDate(0, 0, int(i%3)) // several objects a batch
			batch = append(batch, record(0, i, body(fmt.Sprintf("d%d", i%7), int(i), day.Add(time.Duration(i)*time.Millisecond)),
				received))
		}
		if err := o.WriteBatch(context.Background(), batch); err != nil {
			t.Fatal(err)
		}
		from += int64(len(batch))
		fmt.Printf("acked %d\n", from)
	}
}

func TestRaw_KillsLoseNothingAndStoreNothingTwice(t *testing.T) {
	if url := os.Getenv("WEIR_TEST_CRASH_URL"); url != "" {
		from, err := strconv.ParseInt(os.Getenv("WEIR_TEST_CRASH_FROM"), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		writeFrom(t, url, from)
		return
	}
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	url := lake.FileURL(t.TempDir())
	received := time.Now().UTC().Format(event.TimeFormat)
	kills := 0
	for acked := int64(0); acked < crashEvents; {
		from := max(0, acked-random.Int64N(3*crashBatch)) // the last commits may be missing
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), "WEIR_TEST_CRASH_URL="+url, fmt.Sprintf("WEIR_TEST_CRASH_FROM=%d", from),
			"WEIR_TEST_CRASH_RECEIVED="+received)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		deadly := kills < 15
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			text, ok := strings.CutPrefix(lines.Text(), "acked ")
			if !ok {
				continue
			}
			if acked, err = strconv.ParseInt(text, 10, 64); err != nil {
				t.Fatal(err)
			}
			if deadly {
				deadly = false
				kills++
				time.AfterFunc(time.Duration(random.Int64N(int64(30*time.Millisecond))), func() { _ = cmd.Process.Kill() })
			}
		}
		_ = cmd.Wait() // killed, mostly
	}
	store, err := lake.Open(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	seen := make([]int, crashEvents)
	stats, err := NewReader(store).Scan(context.Background(), Query{}, func(r *Row) error {
		seen[r.Delivery.Offset]++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for offset, n := range seen {
		if n != 1 {
			t.Fatalf("offset %d is there %d times", offset, n)
		}
	}
	if kills < 5 || stats.Repeats > 0 {
		t.Fatalf("%d kills; %d rows were stored twice", kills, stats.Repeats)
	}
	if left, err := os.ReadDir(strings.TrimPrefix(url, "file://") + "/_tmp"); err != nil || len(left) > 0 {
		t.Fatalf("unfinished objects are left: %v, %v", left, err)
	}
}
