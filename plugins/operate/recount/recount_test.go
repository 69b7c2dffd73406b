package recount

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redpanda-data/benthos/v4/public/bloblang"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
	"weir/plugins/store/lake"
	"weir/plugins/store/raw"
	"weir/plugins/store/rollup"
	"weir/tests/integration/testbed"
)

const hour = 1764147600 // 2025-11-26T09:00:00Z

// stored fills a raw store with events of two devices, one a minute of three
// hours, and one that came a day late; the first came from no log.
func stored(t *testing.T) Events { return storedAt(t, time.Unix(hour, 0).UTC()) }

func storedAt(t *testing.T, start time.Time) Events {
	t.Helper()
	url := lake.FileURL(t.TempDir())
	env := service.NewEnvironment()
	if err := raw.Register(env); err != nil {
		t.Fatal(err)
	}
	var batch service.MessageBatch
	for i := range 181 {
		at := start.Add(time.Duration(i) * time.Minute)
		received := at
		if i == 180 {
			at = at.AddDate(0, 0, 2)
			received = at.AddDate(0, 0, 1)
		}
		msg := service.NewMessage(fmt.Appendf(nil, `{"event_id":%q,"device_id":"d%d","device_firmware_version":"2.0.0","timestamp":%q,"metrics":{"cpu_temp":%d,"new":1}}`,
			uuid.NewString(), i%2, at.Format(time.RFC3339), i))
		meta := map[string]any{event.HeaderFleet: "acme", event.HeaderReceivedAt: received.Format(event.TimeFormat),
			event.HeaderSchema: "telemetry/2", event.HeaderUnknownMetrics: "new",
			event.HeaderEnrichFailed: "region,profile"}
		if i > 0 {
			meta["kafka_topic"], meta["kafka_partition"], meta["kafka_offset"] = "raw-events", 0, i
		}
		for name, v := range meta {
			msg.MetaSetMut(name, v)
		}
		batch = append(batch, msg)
	}
	b := env.NewStreamBuilder()
	push, err := b.AddBatchProducerFunc()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.AddOutputYAML(fmt.Sprintf("raw_store: {url: %q}", url)); err != nil {
		t.Fatal(err)
	}
	if err := b.SetLoggerYAML("level: OFF"); err != nil {
		t.Fatal(err)
	}
	stop := testbed.Run(t, b)
	if err := push(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	stop()
	s, err := lake.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return Events{s}
}

func whole() Range { return Range{From: time.Unix(hour, 0), To: time.Unix(hour+3*3600, 0)} }

func TestEvents_AreWhatWasSentWithTheHeadersOfTheirFirstDelivery(t *testing.T) {
	n := 0
	err := stored(t).Scan(t.Context(), whole(), nil, func(e Event) error {
		msg, err := e.Message()
		if err != nil {
			return err
		}
		sent, err := msg.AsBytes()
		if err != nil {
			return err
		}
		var parsed event.Event
		if err := event.Parse(sent, &parsed); err != nil {
			return err
		}
		received, ok := event.ReceivedAt(msg)
		number := int(parsed.Metrics[0].Value)
		delivery := ""
		if number > 0 {
			delivery = fmt.Sprint("raw-events/0/", number)
		}
		if !ok || !received.Equal(parsed.Time) || event.FleetOf(msg) != "acme" ||
			event.Meta(msg, event.HeaderSchema) != "telemetry/2" ||
			event.Meta(msg, event.MetaDevice) != parsed.Device || event.Meta(msg, event.HeaderUnknownMetrics) != "new" ||
			event.Meta(msg, event.HeaderEnrichFailed) != "region,profile" ||
			event.Meta(msg, event.HeaderDelivery) != delivery || e.Logged() != (number > 0) ||
			e.Window() != (Window{"acme", parsed.Device, parsed.Time.Truncate(time.Minute)}) {
			t.Errorf("%s: %+v", sent, e.Window())
		}
		n++
		return nil
	})
	if err != nil || n != 180 {
		t.Fatal(n, err)
	}
}

// Wherever a scan stops, the next one that begins at the last position reads the
// rest, each once.
func TestEvents_GoOnBehindAPosition(t *testing.T) {
	events := stored(t)
	for _, stop := range []int{1, 29, 30, 31, 100, 180} {
		seen := map[[16]byte]int{}
		var at json.RawMessage
		read := func(most int) {
			enough := fmt.Errorf("enough")
			err := events.Scan(t.Context(), whole(), at, func(e Event) (err error) {
				seen[e.Row.ID]++
				if at, err = e.Position(); err == nil && len(seen) == most {
					err = enough
				}
				return err
			})
			if err != nil && err.Error() != "enough" {
				t.Fatal(err)
			}
		}
		read(stop)
		read(1000)
		for id, n := range seen {
			if n != 1 {
				t.Fatalf("stopped after %d: event %x was read %d times", stop, id, n)
			}
		}
		if len(seen) != 180 {
			t.Fatalf("stopped after %d: %d events were read", stop, len(seen))
		}
	}
}

func TestEvents_CountTellsAboutHowMany(t *testing.T) {
	events := stored(t)
	for _, c := range []struct {
		of          Range
		least, most int64
	}{
		{whole(), 180, 180},
		{Range{From: time.Unix(hour, 0), To: time.Unix(hour+3600, 0)}, 50, 70},
		{Range{From: time.Unix(hour+7200, 0), To: time.Unix(hour+99999, 0), Devices: []string{"d1"}}, 30, 180},
		{Range{From: time.Unix(hour-7200, 0), To: time.Unix(hour-3600, 0)}, 0, 0},
	} {
		if size, err := events.Size(t.Context(), c.of); err != nil || size.Events < c.least || size.Events > c.most ||
			(size.Objects > 0) != (size.Events > 0) || size.Bytes < size.Objects {
			t.Errorf("%+v: %+v, %v", c.of, size, err)
		}
	}
}

// known knows all metrics.
type known struct{}

func (known) UnknownMetrics(string, []event.Metric, string) string { return "" }

// Windows count what was known when the events were stored, or, with schemas,
// what is known by now, as the mapping has it; merging them again counts nothing.
func TestWindows_CountWhatIsKnown(t *testing.T) {
	events := stored(t)
	double, err := bloblang.Parse(`root = this
root.metrics.cpu_temp = this.metrics.cpu_temp * 2`)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		schemas Schemas
		upcast  *bloblang.Executor
		want    []string
	}{{nil, nil, []string{"cpu_temp 16110"}}, {known{}, double, []string{"cpu_temp 32220", "new 180"}}} {
		db, err := sqldb.Open(t.Context(), "sqlite://"+t.TempDir()+"/rollups.db")
		if err != nil {
			t.Fatal(err)
		}
		limits := rollup.DefaultLimits()
		limits.WriteEvery, limits.Keep = 0, 100*365*24*time.Hour
		store, err := rollup.Open(t.Context(), db, limits)
		if err != nil {
			t.Fatal(err)
		}
		for try := range 2 {
			w := NewWindows(c.schemas)
			err = events.Scan(t.Context(), whole(), nil, func(e Event) error {
				canonical, err := e.Canonical(c.upcast)
				if err != nil {
					return err
				}
				return w.Add(e, canonical)
			})
			if err != nil {
				t.Fatal(err)
			}
			if n, err := w.Merge(t.Context(), store); err != nil || n != int64(180*(1-try)) {
				t.Fatalf("%d events were new, %v", n, err)
			}
		}
		var got []string
		rows, err := db.QueryContext(t.Context(), `SELECT metric || ' ' || CAST(sum(sum) AS INTEGER) FROM rollup_1m GROUP BY metric ORDER BY metric`)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var line string
			if err := rows.Scan(&line); err != nil {
				t.Fatal(err)
			}
			got = append(got, line)
		}
		if err := rows.Err(); err != nil || !slices.Equal(got, c.want) {
			t.Fatalf("%v, %v", got, err)
		}
		_ = db.Close()
	}
}

// How long rollups are kept is configured elsewhere: what is stored is counted, however old it is.
func TestLater_CountsEventsOlderThanTheDefaultRetention(t *testing.T) {
	events := storedAt(t, time.Now().UTC().AddDate(-3, 0, 0).Truncate(time.Hour))
	db, err := sqldb.Open(t.Context(), "sqlite://"+t.TempDir()+"/rollups.db")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	n, err := Later(t.Context(), events.Store, db, nil, tombstone.Target{Fleet: "acme", Device: "d0"})
	if err != nil || n != 91 {
		t.Fatalf("%d events were counted, %v", n, err)
	}
}
