package raw

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/plugins/lake"
)

func maintained(t *testing.T, conf string) (lake.Report, error) {
	t.Helper()
	parsed, err := maintainSpec().ParseYAML(conf, nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := newMaintain(parsed, service.MockResources())
	if err != nil {
		t.Fatal(err)
	}
	msg := service.NewMessage(nil)
	msg.MetaSetMut("held", "other")
	batch, err := m.Process(context.Background(), msg)
	if err != nil {
		return lake.Report{}, err
	}
	raw, err := batch[0].AsBytes()
	if err != nil {
		t.Fatal(err)
	}
	var r lake.Report
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatal(err)
	}
	return r, nil
}

func TestMaintenanceReportsWhatItDid(t *testing.T) {
	o, rows := historyOver(t, rand.New(rand.NewPCG(61, 1)), "", 2*time.Hour)
	now := noon.AddDate(0, 0, 100).Format(time.RFC3339)
	conf := fmt.Sprintf("url: %q\nkeep: 2160h\nnow: %q\nheld_fleets: ${! @held }\n", o.url, now)
	plan, err := maintained(t, conf+"dry_run: true")
	if err != nil || !plan.DryRun || plan.Retention.Rows == 0 || plan.Merged > 0 {
		t.Fatalf("%+v, %v", plan, err)
	}
	if got, _ := collect(t, o, Query{}); len(got) != len(rows) {
		t.Fatal("a dry run deleted something")
	}
	done, err := maintained(t, conf)
	if err != nil || done.Merged == 0 || done.Retention.Rows == 0 || done.Lifecycle != lake.LifecycleNone {
		t.Fatalf("%+v, %v", done, err)
	}
	got, _ := collect(t, o, Query{})
	if want := positions(rows, func(r *Row) bool { return r.Fleet == "other" }); len(got) != len(want) {
		t.Fatalf("got %d events, want the %d of the held fleet", len(got), len(want))
	}
	if _, err := maintained(t, fmt.Sprintf("url: %q\nnow: tomorrow", o.url)); err == nil {
		t.Fatal("a time that is none was accepted")
	}
}
