package block

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/control/auditlog"
	"weir/internal/control/block"
	"weir/internal/platform/sqldb"
)

const final = `{"id":"a1","revision":0,"status":"final","rule":"cards","version":"1","fleet":"shop","key":{"device_id":"d-1"},` +
	`"window_start":"2026-11-21T09:15:00.000000Z","window_end":"2026-11-21T09:16:00.000000Z","count":4,` +
	`"first":"raw-events/0/1","last":"raw-events/0/4","values":{},"alert":{"severity":"critical","summary":"Cards tried"},` +
	`"block":{"seconds":900}}`

// A result that is handed on twice blocks its device once, for as long as its rule
// says, and is in the audit log once; one that is taken back lets it in again.
func TestSubjectBlock_AResultBlocksOnceAndIsInTheAuditLog(t *testing.T) {
	url := "sqlite://" + filepath.Join(t.TempDir(), "control.db")
	parsed, err := spec().ParseYAML("url: "+url, service.NewEnvironment())
	if err != nil {
		t.Fatal(err)
	}
	out, _, _, err := newOutput(parsed, service.MockResources())
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if err := out.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close(context.Background()) }()
	write := func(results ...string) error {
		batch := make(service.MessageBatch, len(results))
		for i, raw := range results {
			batch[i] = service.NewMessage([]byte(raw))
		}
		return out.WriteBatch(ctx, batch)
	}
	begin := time.Now()
	plain, _, _ := strings.Cut(final, `,"block"`)
	plain += "}"
	other := strings.NewReplacer(`"a1"`, `"a2"`, `"d-1"`, `"d-2"`).Replace(final)
	for _, batch := range [][]string{{final}, {final, plain, other}, {other}, {plain}} {
		if err := write(batch...); err != nil {
			t.Fatal(err)
		}
	}
	end := time.Now()
	db, err := sqldb.Open(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	store, err := block.Open(ctx, db)
	if err != nil {
		t.Fatal(err)
	}
	list := func() (devices []string) {
		t.Helper()
		blocks, _, err := store.List(ctx, "shop", block.Query{Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range blocks {
			if b.Kind != block.Device || b.By != "rule:cards" || b.Rule != "cards" || b.Reason != "Cards tried" ||
				b.Until.Before(begin.Add(15*time.Minute-time.Millisecond)) || b.Until.After(end.Add(15*time.Minute)) {
				t.Errorf("%+v", b)
			}
			devices = append(devices, b.Subject)
		}
		slices.Sort(devices)
		return devices
	}
	if got := list(); !slices.Equal(got, []string{"d-1", "d-2"}) {
		t.Fatal(got)
	}
	back := strings.NewReplacer(`"revision":0`, `"revision":1`, `"final"`, `"retracted"`).Replace(final)
	for range 2 {
		if err := write(back); err != nil {
			t.Fatal(err)
		}
	}
	if got := list(); !slices.Equal(got, []string{"d-2"}) {
		t.Errorf("what is taken back blocks: %v", got)
	}
	log, err := auditlog.Open(ctx, db)
	if err != nil {
		t.Fatal(err)
	}
	acts, err := log.List(ctx, auditlog.Query{From: begin.Add(-time.Minute), To: end.Add(time.Minute), Limit: 10})
	if err != nil || len(acts) != 3 {
		t.Fatalf("%d entries: %+v (%v)", len(acts), acts, err)
	}
	put := 0
	for _, a := range acts {
		if a.User != "rule:cards" || a.Method != auditlog.ByRule || a.Fleet != "shop" || a.Detail["reason"] != "Cards tried" {
			t.Errorf("%+v", a)
		}
		if a.Path == "block put" {
			put++
		}
	}
	if put != 2 {
		t.Errorf("%d entries of blocks, of 2", put)
	}
	user := strings.NewReplacer(`"a1"`, `"a3"`, `"values":{}`, `"values":{"n":2,"who":"tok_ann"}`, `"seconds":900`,
		`"seconds":900,"user":"who"`).Replace(final)
	if err := write(user, strings.NewReplacer(`"a3"`, `"a4"`, `"tok_ann"`, `null`).Replace(user)); err != nil {
		t.Fatal(err)
	}
	kinds := map[string]block.Kind{}
	blocks, _, err := store.List(ctx, "shop", block.Query{Limit: 10})
	for _, b := range blocks {
		kinds[b.Subject] = b.Kind
	}
	if err != nil || len(kinds) != 3 || kinds["tok_ann"] != block.User || kinds["d-1"] != block.Device {
		t.Errorf("a user that a result names, and a device of which it names none: %v (%v)", kinds, err)
	}
	for _, bad := range []string{`{`, `{"id":"x","block":{}}`, strings.Replace(final, `900`, `0`, 1),
		strings.Replace(final, `{"device_id":"d-1"}`, `{}`, 1)} {
		if write(bad) == nil {
			t.Errorf("taken: %s", bad)
		}
	}
}
