package raw

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os/exec"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/platform/text"
	"weir/plugins/store/lake"
	"weir/tests/integration/require"
)

// foreign is a row as pyarrow and DuckDB agree to read it.
type foreign struct {
	EventID     string             `json:"event_id"`
	Fleet       string             `json:"fleet"`
	Device      string             `json:"device_id"`
	Firmware    string             `json:"firmware"`
	Time        int64              `json:"timestamp"`
	TimeText    *string            `json:"timestamp_text"`
	Effective   *int64             `json:"effective_time"`
	ReceivedAt  *int64             `json:"received_at"`
	Schema      *string            `json:"schema"`
	Flags       *string            `json:"flags"`
	Metrics     map[string]float64 `json:"metrics"`
	Diagnostics json.RawMessage    `json:"diagnostics"`
	Extra       json.RawMessage    `json:"extra"`
	Topic       string             `json:"topic"`
	Partition   int32              `json:"partition"`
	Offset      int64              `json:"offset"`
}

func TestRaw_OtherReadersReadTheSameRows(t *testing.T) {
	interpreter := require.Python(t, "../../..")
	random := rand.New(rand.NewPCG(21, 1))
	o := connected(t, lake.FileURL(t.TempDir()), "row_group_rows: 300\nmax_object_rows: 700")
	sent := map[int64]event.Event{}
	var batch service.MessageBatch
	for i := range int64(2000) {
		text := randomEvent(random)
		var e event.Event
		if err := event.Parse([]byte(text), &e); err != nil {
			t.Fatal(err)
		}
		msg := record(1, i, text, noon)
		if i%9 == 0 {
			msg.MetaSetMut(event.HeaderFlags, event.FlagClockAhead)
		}
		sent[i] = e
		batch = append(batch, msg)
	}
	if err := o.WriteBatch(context.Background(), batch); err != nil {
		t.Fatal(err)
	}
	compareForeign(t, interpreter, o, sent)

	// and all of them as one data set, whose folders are columns
	u, err := url.Parse(o.URL)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(interpreter, "../../../tests/integration/dataset_check.py", u.Path).CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte(`"rows": 2000, "made": ["date"]`)) {
		t.Fatalf("%v: %s", err, out)
	}

	// and what compaction has written again
	if _, err := o.Store.Compact(context.Background(), Table(), eager(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	compareForeign(t, interpreter, o, sent)
}

func compareForeign(t *testing.T, interpreter string, o *output, sent map[int64]event.Event) {
	t.Helper()
	u, err := url.Parse(o.URL)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(interpreter, "../../../tests/integration/parquet_check.py", u.Path).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("%s", exit.Stderr)
		}
		t.Fatal(err)
	}
	seen := 0
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for ; lines.Scan(); seen++ {
		var f foreign
		if err := json.Unmarshal(lines.Bytes(), &f); err != nil {
			t.Fatalf("%v: %s", err, lines.Bytes())
		}
		e, ok := sent[f.Offset]
		if !ok {
			t.Fatalf("nobody sent %s", lines.Bytes())
		}
		if err := f.same(t, &e); err != nil {
			t.Fatalf("%v\nread %s\nsent %+v", err, lines.Bytes(), e)
		}
	}
	if seen != len(sent) {
		t.Fatalf("%d rows are read of %d", seen, len(sent))
	}
}

func (f *foreign) same(t *testing.T, e *event.Event) error {
	at := e.Time
	if f.Offset%9 == 0 {
		at = noon
	}
	effective := f.Time
	if f.Effective != nil {
		effective = *f.Effective
	}
	switch {
	case f.EventID != string(text.AppendUUID(nil, e.UUID)), f.Fleet != "acme", f.Device != e.Device,
		f.Firmware != e.Firmware:
		return errors.New("not the same event")
	case f.Time != e.Time.UnixMicro(), effective != lake.Clamp(at).UnixMicro(), f.ReceivedAt == nil,
		*f.ReceivedAt != noon.UnixMicro():
		return errors.New("not the same times")
	case f.TimeText != nil && *f.TimeText != e.TimeText, f.Schema == nil, *f.Schema != "telemetry/2",
		(f.Flags != nil) != (f.Offset%9 == 0):
		return errors.New("not the same facts")
	case f.Topic != "raw-events", f.Partition != 1, len(f.Metrics) != len(e.Metrics):
		return errors.New("not the same record")
	}
	for _, m := range e.Metrics {
		if got, ok := f.Metrics[m.Name]; !ok || got != m.Value {
			return fmt.Errorf("metric %s is %v", m.Name, got)
		}
	}
	if e.Diagnostics == nil && string(f.Diagnostics) != "null" || e.Diagnostics != nil &&
		!sameJSON(t, f.Diagnostics, e.Diagnostics) {
		return errors.New("not the same diagnostics")
	}
	extra := map[string]json.RawMessage{}
	if string(f.Extra) != "null" {
		if err := json.Unmarshal(f.Extra, &extra); err != nil {
			return err
		}
	}
	if len(extra) != len(e.Extra) {
		return errors.New("not the same unknown fields")
	}
	return nil
}
