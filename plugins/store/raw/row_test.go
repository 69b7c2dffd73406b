package raw

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/platform/text"
	"weir/plugins/store/lake"
)

// randomEvent makes an event with everything that a device may send.
func randomEvent(r *rand.Rand) string {
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	id := fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", r.Uint32(), r.IntN(1<<16), r.IntN(1<<12), r.IntN(1<<12),
		r.Int64N(1<<48))
	if r.IntN(10) == 0 {
		id = fmt.Sprintf("%08X-%04X-4%03X-8%03X-%012X", r.Uint32(), r.IntN(1<<16), r.IntN(1<<12), r.IntN(1<<12),
			r.Int64N(1<<48))
	}
	stamp := pick("2026-11-20T12:00:00Z", "2026-11-20T12:00:00.120Z", "2026-11-20T12:00:00.12Z",
		"2026-11-20t12:00:00.123456z",
		"2026-11-20T12:00:00.123456789Z", "2026-11-20T14:00:00.5+02:00", "0001-01-01T00:00:00+14:00",
		"9999-12-31T23:59:59-12:00", "1969-12-31T23:59:59.999999Z")
	out := fmt.Sprintf(`{"event_id":%q,"device_id":"d-%d","timestamp":%q,"device_firmware_version":%s,"metrics":{`,
		id, r.IntN(5), stamp, pick(`"2.1.0"`, `"1.0.0-rc\"1"`, `"ü漢"`))
	for i := range r.IntN(5) {
		if i > 0 {
			out += ", "
		}
		out += fmt.Sprintf(`"m%d%s":%s`, i, pick("", `é\n`, " "), pick("0", "-0", "1.50", "1e2", "-7", "0.1",
			"12345678901234567890",
			"0.1234567890123456789", "1e-400", "4.9e-324", "1.7976931348623157e308", "9007199254740993",
			fmt.Sprint(r.NormFloat64()), fmt.Sprint(math.Float64frombits(r.Uint64()&^(1<<62))), "0.30000000000000004",
			"100000000000000000000000", "0e999999999"))
	}
	out += "}"
	if r.IntN(3) == 0 {
		out += `,"diagnostics":` + pick(`{}`, `{"a":[1,2.50,{"b":null}],"é":"\u0000\ud83d\ude00"}`)
	}
	for i := range r.IntN(3) {
		out += fmt.Sprintf(`,"x%d%s":%s`, i, pick("", `\"q\"`, "/~"), pick("null", "true", `"text"`, "[]",
			`{"deep":{"er":1e3}}`, "12345678901234567890.5"))
	}
	return out + " }"
}

// roundTrip stores bodies and reads them back, by delivery.
func roundTrip(t testing.TB, bodies []string) map[int64]*Row {
	t.Helper()
	o := connected(t, lake.FileURL(t.TempDir()), "row_group_rows: 100")
	var batch service.MessageBatch
	for i, b := range bodies {
		msg := record(0, int64(i), b, noon)
		if i%7 == 0 {
			msg.MetaSetMut(event.HeaderFlags, event.FlagClockAhead)
		}
		if i%11 == 0 {
			msg.MetaSetMut(event.HeaderUnknownMetrics, "m1,m2")
		}
		batch = append(batch, msg)
	}
	o.now = func() time.Time { return noon.Add(time.Hour) }
	if err := o.WriteBatch(context.Background(), batch); err != nil {
		t.Fatal(err)
	}
	got := map[int64]*Row{}
	var last *Row
	_, err := NewReader(o.Store).Scan(context.Background(), Query{}, func(r *Row) error {
		if last != nil && hourOf(last.At) == hourOf(r.At) && last.before(r) >= 0 {
			t.Errorf("rows out of order: %s %d, then %s %d", last.Device, last.At, r.Device, r.At)
		}
		last = r
		got[r.Delivery.Offset] = r
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestRaw_AnEventIsRebuiltFromItsRow(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var bodies []string
	for range 2000 {
		bodies = append(bodies, randomEvent(random))
	}
	rows := roundTrip(t, bodies)
	if len(rows) != len(bodies) {
		t.Fatalf("got %d rows, want %d", len(rows), len(bodies))
	}
	for i, sent := range bodies {
		r := rows[int64(i)]
		built, err := r.AppendJSON(nil)
		if err != nil {
			t.Fatal(err)
		}
		if !sameJSON(t, []byte(sent), built) {
			t.Fatalf("sent  %s\nbuilt %s", sent, built)
		}
		var e event.Event
		if err := event.Parse([]byte(sent), &e); err != nil {
			t.Fatal(err)
		}
		want := lake.Clamp(e.At(noon, i%7 == 0)).UnixMicro()
		if r.At != want || r.Fleet != "acme" || r.Schema != "telemetry/2" || r.ReceivedAt != noon.UnixMicro() ||
			(r.Unknown != "") != (i%11 == 0) || r.Record.Topic != "raw-events" {
			t.Fatalf("row %+v of %s", r, sent)
		}
		for j, m := range r.Metrics {
			if m.Name != e.Metrics[j].Name || math.Float64bits(m.Value) != math.Float64bits(e.Metrics[j].Value) {
				t.Fatalf("metric %+v of %s", m, sent)
			}
		}
	}
}

func FuzzAnyEventIsRebuiltFromItsRow(f *testing.F) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		f.Add([]byte(randomEvent(random)))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		var e event.Event
		if event.Parse(sent, &e) != nil || !json.Valid(sent) {
			return
		}
		row := roundTrip(t, []string{string(sent)})[0]
		built, err := row.AppendJSON(nil)
		if err != nil {
			t.Fatal(err)
		}
		if !sameJSON(t, sent, built) {
			t.Fatalf("sent  %s\nbuilt %s", sent, built)
		}
	})
}

func TestRaw_ADoubleIsExactOnlyWhenItPrintsBackEqual(t *testing.T) {
	for text, want := range map[string]bool{
		"0": true, "-0.0": true, "1.50": true, "1e2": true, "0.1": true, "123456789012345": true, "0.30000000000000004": true,
		"1234567890123456": true, "9007199254740993": false, "0.1234567890123456789": false, "4.9e-324": false,
		"5e-324": true, "1e-400": false, "100000000000000000000000": true, "12345678901234567890": false, "0e99": true,
		"000": true,
	} {
		v := 0.0
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			_, _ = fmt.Sscan(text, &v)
		}
		if got := exact([]byte(text), v); got != want {
			t.Errorf("%s: got %t", text, got)
		}
	}
}

// A timestamp's text is left out exactly when its column gives it back.
func TestRaw_TimeTextIsKnownFromItsColumn(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 1))
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	given := 0
	for range 200_000 {
		stamp := fmt.Sprintf("%04d-%02d-%02d%s%02d:%02d:%s%s%s", 1+r.IntN(9999), 1+r.IntN(12), 1+r.IntN(28),
			pick("T", "T", "T", "t"), r.IntN(24), r.IntN(60),
			pick("00", "07", "59", "59", "60"), pick("", ".", ".0", ".5", ".000", ".120", ".123", ".1234", ".123000", ".123400",
				".123456", ".000456", ".123456000", ".123456789", ".1234567890"),
			pick("Z", "Z", "Z", "z", "+00:00", "-05:30"))
		at, ok := text.ParseTime(stamp)
		if !ok {
			continue
		}
		want := string(appendTimeText(nil, time.UnixMicro(at.UnixMicro()))) == stamp
		if got := isTimeText(stamp, at); got != want {
			t.Fatalf("%s: %t, and the column gives %s", stamp, got, appendTimeText(nil, time.UnixMicro(at.UnixMicro())))
		}
		if want {
			given++
		}
	}
	if given < 10_000 {
		t.Errorf("only %d texts were as the column gives them", given)
	}
}
