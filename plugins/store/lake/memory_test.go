package lake

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
)

// lying is a store whose put can return an error after the object was written. It counts listings.
type lying struct {
	backend
	lie   bool
	lists int
}

func (l *lying) put(ctx context.Context, key string, write func(io.Writer) error) error {
	if err := l.backend.put(ctx, key, write); err != nil || !l.lie {
		return err
	}
	return errors.New("connection reset while waiting for the answer")
}

func (l *lying) folders(ctx context.Context, prefix string) ([]string, error) {
	l.lists++
	return l.backend.folders(ctx, prefix)
}

func bare() *Table {
	type row struct {
		N int64 `parquet:"n"`
	}
	return &Table{Name: "test/1", Schema: parquet.SchemaOf(new(row))}
}

func spansAt(first, last int64) (map[Partition]Span, *Coverage) {
	s := Span{first, last}
	return map[Partition]Span{p3: s}, &Coverage{Stored: map[Partition][]Span{p3: {s}}}
}

func put(t *testing.T, m *Memory, now time.Time, c *Coverage) error {
	t.Helper()
	_, err := m.Put(context.Background(), m.Tombstones(), NewName(DateFolder(now), now, now, now), bare(), 0, Options{}, c,
		nil)
	return err
}

func prepared(t *testing.T, m *Memory, now time.Time, batch map[Partition]Span) {
	t.Helper()
	if err := m.Prepare(context.Background(), now, batch); err != nil {
		t.Fatal(err)
	}
}

func TestLake_AnUploadThatFailedButTookPlaceIsNotRepeated(t *testing.T) {
	s := opened(t, FileURL(t.TempDir()))
	l := &lying{backend: s.backend, lie: true}
	s.backend = l
	m := NewMemory(s, time.Hour)
	now := time.Now()
	batch, c := spansAt(1, 5)
	prepared(t, m, now, batch)
	if err := put(t, m, now, c); err == nil {
		t.Fatal("the failure was swallowed")
	}
	l.lie = false
	prepared(t, m, now.Add(time.Second), batch)
	if !m.Has(at(3), now.Add(-time.Second)) {
		t.Fatal("records whose upload returned an error but took place are not known, and would be stored again")
	}
}

func TestLake_RecordsThatAnotherOwnerStoredAreRecognisedAfterARebalance(t *testing.T) {
	ctx := context.Background()
	url := FileURL(t.TempDir())
	ours, theirs := opened(t, url), opened(t, url)
	l := &lying{backend: ours.backend}
	ours.backend = l
	m, other := NewMemory(ours, time.Hour), NewMemory(theirs, time.Hour)
	now := time.Now()
	received := now.Add(-time.Minute)
	if err := m.Load(ctx, now); err != nil {
		t.Fatal(err)
	}
	_, c := spansAt(1, 10)
	if err := put(t, other, now, c); err != nil {
		t.Fatal(err)
	}
	batch, _ := spansAt(5, 12)
	prepared(t, m, now, batch) // a partition that is new to us
	if !m.Has(at(10), received) || m.Has(at(11), received) {
		t.Fatal("the other owner's records are not known")
	}
	_, c = spansAt(11, 12)
	if err := put(t, m, now, c); err != nil {
		t.Fatal(err)
	}

	lists := l.lists
	batch, c = spansAt(13, 20)
	prepared(t, m, now.Add(time.Second), batch)
	if err := put(t, m, now.Add(time.Second), c); err != nil {
		t.Fatal(err)
	}
	if l.lists != lists {
		t.Fatal("Prepare listed the store although the offsets continue without a gap or a pause")
	}

	_, c = spansAt(21, 40) // the partition moves to the other owner, and back
	if err := put(t, other, now.Add(10*time.Second), c); err != nil {
		t.Fatal(err)
	}
	batch, _ = spansAt(30, 45)
	prepared(t, m, now.Add(12*time.Second), batch)
	if !m.Has(at(40), received) || m.Has(at(41), received) {
		t.Fatal("offsets were skipped, and the records that the other owner stored are not known")
	}
	_, c = spansAt(46, 50)
	if err := put(t, other, now.Add(15*time.Second), c); err != nil {
		t.Fatal(err)
	}
	batch, _ = spansAt(46, 60)
	prepared(t, m, now.Add(2*time.Minute), batch) // no gap in the offsets, but more than idleAfter without records
	if !m.Has(at(50), received) {
		t.Fatal("the partition was idle, and the records that the other owner stored are not known")
	}
}

func TestLake_AStoreThatCannotBeListedIsAnErrorAndNotAnEmptyStore(t *testing.T) {
	s := opened(t, FileURL(t.TempDir()))
	m := NewMemory(s, time.Hour)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.PutBytes(context.Background(), NewName("date=2026-11-20", time.Now(), noon, noon).Path(),
		[]byte("junk")); err != nil {
		t.Fatal(err)
	}
	batch, _ := spansAt(1, 5)
	if err := m.Prepare(ctx, time.Now(), batch); err == nil {
		t.Fatal("a listing that failed was treated as an empty store")
	}
}
