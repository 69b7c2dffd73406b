package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/internal/platform/kafka"
)

const password = "a password of this test"

func start(t *testing.T, dir string, minFree uint64) *Broker {
	t.Helper()
	b, err := Start(Config{
		Dir: dir, Address: "127.0.0.1:0", Password: password, Topics: Topics(), MinFree: minFree,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func logOf(t *testing.T, b *Broker) kafka.Cluster {
	t.Helper()
	log, err := b.Log()
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func dial(t *testing.T, b *Broker, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append(logOf(t, b).Options("test"), opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func produce(t *testing.T, b *Broker, n int, at time.Time) {
	t.Helper()
	c := dial(t, b, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for i := range n {
		r := &kgo.Record{Topic: "raw-events", Partition: 0, Value: fmt.Appendf(nil, "event %d", i), Timestamp: at}
		if err := c.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

func offsets(t *testing.T, b *Broker) (start, end int64) {
	t.Helper()
	admin := kadm.NewClient(dial(t, b))
	s, err := admin.ListStartOffsets(t.Context(), "raw-events")
	if err != nil {
		t.Fatal(err)
	}
	e, err := admin.ListEndOffsets(t.Context(), "raw-events")
	if err != nil {
		t.Fatal(err)
	}
	return s["raw-events"][0].Offset, e["raw-events"][0].Offset
}

// clone copies what is on disk now, as a crash would leave it.
func clone(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(filepath.Join(to, "log"), os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(to, "log")
}

func TestBroker_AcknowledgedRecordsSurviveACrash(t *testing.T) {
	dir := t.TempDir()
	b := start(t, dir, 1)
	produce(t, b, 50, time.Now())
	after := start(t, clone(t, dir), 1)
	if _, end := offsets(t, after); end != 50 {
		t.Fatalf("the log ends at %d after the crash, want 50", end)
	}
	produce(t, after, 1, time.Now())
	if _, end := offsets(t, after); end != 51 {
		t.Fatalf("the next record got offset %d, want 50", end-1)
	}
}

// Clients are asked for no metrics of their own, however often they ask what for.
func TestBroker_WantsNoMetricsOfClients(t *testing.T) {
	c := dial(t, start(t, t.TempDir(), 1))
	ask := kmsg.NewPtrGetTelemetrySubscriptionsRequest()
	for range 3 {
		answer, err := ask.RequestWith(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		id := answer.ClientInstanceID
		if answer.ErrorCode != 0 || len(answer.RequestedMetrics) > 0 || answer.PushIntervalMillis < 60_000 ||
			id == [16]byte{} || ask.ClientInstanceID != [16]byte{} && ask.ClientInstanceID != id {
			t.Fatalf("the broker answers %+v", answer)
		}
		ask.ClientInstanceID = id
	}
}

func TestBroker_ACrashAfterACleanRestartLosesNothing(t *testing.T) {
	dir := t.TempDir()
	first, err := Start(Config{Dir: dir, Address: "127.0.0.1:0", Password: password, Topics: Topics(), MinFree: 1,
		Logger: slog.Default()})
	if err != nil {
		t.Fatal(err)
	}
	produce(t, first, 10, time.Now())
	first.Close()
	second := start(t, dir, 1)
	produce(t, second, 10, time.Now())
	after := start(t, clone(t, dir), 1)
	if _, end := offsets(t, after); end != 20 {
		t.Fatalf("the log ends at %d, want 20", end)
	}
}

func TestBroker_ATornTailIsCutOff(t *testing.T) {
	dir := t.TempDir()
	b := start(t, dir, 1)
	produce(t, b, 10, time.Now())
	crashed := clone(t, dir)
	segments, err := filepath.Glob(filepath.Join(crashed, "*", "raw-events-0", "*.dat"))
	if more, err2 := filepath.Glob(filepath.Join(crashed, "*", "*", "*.dat")); len(segments) == 0 && err2 == nil {
		segments = more
	}
	if err != nil || len(segments) == 0 {
		t.Fatalf("no segment files in %s (%v)", crashed, err)
	}
	f, err := os.OpenFile(segments[len(segments)-1], os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("\x00\x00\x00half a batch"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	after := start(t, crashed, 1)
	if _, end := offsets(t, after); end != 10 {
		t.Fatalf("the log ends at %d, want 10", end)
	}
	produce(t, after, 5, time.Now())
	again := start(t, clone(t, crashed), 1)
	if _, end := offsets(t, again); end != 15 {
		t.Fatalf("after a second crash the log ends at %d, want 15", end)
	}
}

func TestBroker_OffsetsNeverBeginAgain(t *testing.T) {
	dir := t.TempDir()
	b := start(t, dir, 1)
	produce(t, b, 20, time.Now().Add(-24*time.Hour))
	if err := b.retainAt(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if from, end := offsets(t, b); from != 19 || end != 20 {
		t.Fatalf("after retention the log is [%d, %d), want [19, 20)", from, end)
	}
	after := start(t, clone(t, dir), 1)
	if _, end := offsets(t, after); end != 20 {
		t.Fatalf("after retention and a crash the log ends at %d, want 20", end)
	}
}

func TestBroker_RetentionKeepsWhatIsYoung(t *testing.T) {
	b := start(t, t.TempDir(), 1)
	produce(t, b, 5, time.Now().Add(-5*time.Hour))
	produce(t, b, 5, time.Now())
	if err := b.retainAt(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if from, end := offsets(t, b); from != 5 || end != 10 {
		t.Fatalf("after retention the log is [%d, %d), want [5, 10)", from, end)
	}
}

func TestBroker_AFullDiskRefusesWritesBeforeTheyHurt(t *testing.T) {
	b := start(t, t.TempDir(), 1<<62)
	c := dial(t, b, kgo.RecordRetries(0), kgo.DisableIdempotentWrite())
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	err := c.ProduceSync(ctx, &kgo.Record{Topic: "raw-events", Value: []byte("x")}).FirstErr()
	if !errors.Is(err, kerr.KafkaStorageError) {
		t.Fatalf("got %v, want KAFKA_STORAGE_ERROR", err)
	}
}

// Both families of loopback are: clients find the broker by what it says of
// itself. A machine without IPv6 is told so.
func TestBroker_ListensOnIPv6(t *testing.T) {
	l, absent := net.Listen("tcp", "[::1]:0")
	if absent == nil {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	b, err := Start(Config{Dir: t.TempDir(), Address: "[::1]:0", Password: password, Topics: Topics(), MinFree: 1,
		Logger: slog.Default()})
	if absent != nil {
		if err == nil || !strings.Contains(err.Error(), "::1") {
			t.Fatalf("got %v, want an error that names the address", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if !strings.HasPrefix(b.Address(), "[::1]:") {
		t.Fatalf("the broker listens on %s", b.Address())
	}
	produce(t, b, 3, time.Now())
	if _, end := offsets(t, b); end != 3 {
		t.Fatalf("the log ends at %d, want 3", end)
	}
}

func TestBroker_OnlyLoopbackIsServed(t *testing.T) {
	_, err := Start(Config{Dir: t.TempDir(), Address: "0.0.0.0:0", Password: password, Logger: slog.Default()})
	if err == nil || !strings.Contains(err.Error(), "cluster profile") {
		t.Fatalf("got %v, want a refusal that names the cluster profile", err)
	}
}
