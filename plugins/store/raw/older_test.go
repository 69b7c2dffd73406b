package raw

import (
	"context"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/plugins/store/lake"
)

// older is the table without the columns that came later.
func older() *lake.Table {
	all := reflect.TypeFor[layout]()
	var fields []reflect.StructField
	for i := range all.NumField() {
		if name := all.Field(i).Name; name != "EnrichFailed" && name != "Enriched" {
			fields = append(fields, all.Field(i))
		}
	}
	t := Table()
	t.Schema = parquet.NewSchema("event", parquet.SchemaOf(reflect.New(reflect.StructOf(fields)).Interface()))
	return t
}

// What an older weir stored is read beside what this one does, and merged with it;
// the look-ups that failed are told of the events of which they are known.
func TestRaw_EventsWhoseLookUpFailedAreFoundAmongOlderObjects(t *testing.T) {
	o := connected(t, lake.FileURL(t.TempDir()), "")
	o.now = func() time.Time { return noon.Add(time.Hour) }
	this := o.table
	o.table = older()
	for i := range 24 { // each an object
		if i == 12 {
			o.table = this
		}
		var batch service.MessageBatch
		for n := range 3 {
			offset := int64(3*i + n)
			msg := record(0, offset, body("pump-1", int(offset), noon.Add(time.Duration(offset)*time.Second)), noon)
			if n > 0 {
				msg.MetaSetMut(event.HeaderEnrichFailed, []string{"", "region", "region,profile"}[n])
				msg.MetaSetMut(event.HeaderEnriched, "customer@0a1b2c3d")
			}
			batch = append(batch, msg)
		}
		if err := o.WriteBatch(context.Background(), batch); err != nil {
			t.Fatal(err)
		}
	}
	get := served(t, o)
	count := func(missed string) (n int) {
		_, err := NewReader(o.Store).Scan(context.Background(), Query{Missed: missed}, func(r *Row) error {
			if want := r.Record.Offset%3 > 0 && r.Record.Offset >= 36; (r.EnrichFailed != "") != want {
				t.Errorf("%q failed for %v", r.EnrichFailed, r.Record)
			}
			if (r.Enriched == "customer@0a1b2c3d") != (r.EnrichFailed != "") {
				t.Errorf("%q wrote into %v", r.Enriched, r.Record)
			}
			n++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, when := range []string{"before", "after"} {
		for missed, want := range map[string]int{"": 72, "region": 24, "profile": 12, "prof": 0} {
			if n := count(missed); n != want {
				t.Errorf("%q failed for %d events %s they were merged, not for %d", missed, n, when, want)
			}
		}
		v := url.Values{"from": {"2026-11-20T00:00:00Z"}, "to": {"2026-11-22T04:00:00Z"}, "enrich_failed": {"profile"},
			"limit": {"5"}}
		v.Set("fields", "enrich_failed,enriched")
		w, page := get(v)
		if w.Code != http.StatusOK || len(page.Events) != 5 || page.Next == nil {
			t.Fatalf("%d: %s", w.Code, w.Body)
		}
		if failed := page.Events[0]["enrich_failed"]; !reflect.DeepEqual(failed, []any{"region", "profile"}) {
			t.Errorf("%v failed", failed)
		}
		if by := page.Events[0]["enriched"]; !reflect.DeepEqual(by, []any{"customer@0a1b2c3d"}) {
			t.Errorf("%v wrote into it", by)
		}
		v.Set("cursor", *page.Next)
		if w, page = get(v); w.Code != http.StatusOK || len(page.Events) != 5 {
			t.Fatalf("%d: %s", w.Code, w.Body)
		}
		if v.Set("enrich_failed", "region"); true { // a cursor is of its question alone
			if w, _ = get(v); w.Code != http.StatusBadRequest {
				t.Errorf("%d: %s", w.Code, w.Body)
			}
		}
		if when == "before" {
			done, err := o.Store.Compact(context.Background(), Table(), eager(), time.Now().Add(time.Hour))
			if err != nil || done.Inputs < 20 {
				t.Fatalf("%+v, %v", done, err)
			}
		}
	}
	if !slices.Contains(Table().Schema.Columns()[columnCount-1], "enriched") {
		t.Error("the last column is another one")
	}
}
