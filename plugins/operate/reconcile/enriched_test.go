package reconcile

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/event"
	"weir/plugins/store/lake"
	"weir/plugins/store/raw"
)

// What look-ups said later is compared with its events; a row that is of none is a loss,
// named in the table and in JSON.
func TestReconcile_ComparesWhatWasFoundOutLater(t *testing.T) {
	w := newWorld(t)
	w.produce("raw-events", 0, 10, kgo.RecordHeader{Key: event.HeaderEnrichFailed, Value: []byte("profile")})
	w.store("raw-events", 0, 0, 10)
	w.commit("weir-raw", "raw-events", 0, 10)
	a := w.reconciler(false)
	if r := w.run(a, Options{}); r.Enriched != nil || r.Loss() {
		t.Fatalf("before there is any: %+v %v", r.Enriched, r.Problems)
	}
	store, err := lake.Open(t.Context(), w.rawURL)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	var rows []raw.Later
	if _, err := raw.NewReader(store).Scan(t.Context(), raw.Query{}, func(row *raw.Row) error {
		l := raw.LaterOf(row)
		l.Lookup, l.Version, l.Job, l.EnrichedAt, l.Facts = "profile", "0a1b2c3d", "j", time.Now().UnixMicro(), []byte(`{}`)
		rows = append(rows, l)
		return nil
	}); err != nil || len(rows) != 10 {
		t.Fatal(len(rows), err)
	}
	write := func(rows ...raw.Later) {
		t.Helper()
		if erased, err := raw.NewLaterWriter(store).Write(t.Context(), rows); err != nil || len(erased) > 0 {
			t.Fatal(erased, err)
		}
	}
	write(rows...)
	said := func(r *Report) string {
		t.Helper()
		var b strings.Builder
		if err := r.WriteTable(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	r := w.run(a, Options{})
	if text := said(r); r.Loss() || r.Enriched == nil || r.Enriched.Right != 10 || !strings.Contains(text,
		"10 rows of what look-ups said later compared with their events: 10 right, 0 differing\n") {
		t.Fatalf("%+v %v\n%s", r.Enriched, r.Problems, text)
	}
	if r := w.run(a, Options{Glance: true}); r.Enriched != nil {
		t.Error("a glance reads rows")
	}

	stray := rows[3]
	stray.ID[0] ^= 1
	write(stray, rows[4])
	for _, deep := range []bool{false, true} {
		r := w.run(w.reconciler(deep), Options{})
		text := said(r)
		if !r.Loss() || r.Total.Unexplained > 0 || len(r.Problems) != 1 ||
			!strings.Contains(text, "PROBLEM what the look-up profile said later of the event ") ||
			!strings.Contains(text, "10 right, 1 repeated, 1 differing") {
			t.Errorf("deep %t: %+v %v\n%s", deep, r.Enriched, r.Problems, text)
		}
		body, err := json.Marshal(r)
		if err != nil || !bytes.Contains(body, []byte(`"enriched":{"rows":12,"right":10,"repeated":1,"erased":0,`+
			`"expired":0,"unknown":0,"differing":1,"unread_objects":0,"differences":[{"event_id":"`)) {
			t.Errorf("%v %s", err, body)
		}
	}
	if alert := alertOf(w.run(a, Options{})); !slices.Contains(alert.Details["problems"].([]string),
		w.run(a, Options{}).Problems[0]) {
		t.Errorf("%+v", alert)
	}
}
