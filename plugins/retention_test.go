package plugins

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/control/auditlog"
	"weir/internal/control/hold"
	"weir/internal/lifecycle"
	"weir/internal/platform/sqldb"
	"weir/plugins/operate/retention"
	"weir/plugins/store/lake"
)

// maintained runs the processor once, in a stream.
func maintained(t *testing.T, env *service.Environment, conf string) (report retention.Report, failure error) {
	t.Helper()
	b := env.NewStreamBuilder()
	if err := b.SetYAML("logger: {level: OFF}\ninput: {generate: {count: 1, mapping: 'root = {}'}}\npipeline: " +
		"{processors: [{retention: {" + conf + "}}]}\noutput: {drop: {}}\n"); err != nil {
		t.Fatal(err)
	}
	if err := b.AddConsumerFunc(func(_ context.Context, m *service.Message) error {
		raw, err := m.AsBytes()
		if err != nil {
			return err
		}
		failure = m.GetError()
		return json.Unmarshal(raw, &report)
	}); err != nil {
		t.Fatal(err)
	}
	stream, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return report, failure
}

type kept struct {
	env     *service.Environment
	conf    string
	control *sqldb.DB
	places  [2]string // of rollups and control, as conf names them
}

// away is conf with one of its places where nobody answers.
func (s kept) away(place int) string {
	return strings.Replace(s.conf, s.places[place], "postgres://weir@127.0.0.1:1/none?connect_timeout=1", 1)
}

// aged makes stores whose audit log has an act of a fleet and one of an admin.
func aged(t *testing.T) kept {
	t.Helper()
	dir := t.TempDir()
	control := "sqlite://" + filepath.Join(dir, "control.db")
	db, err := sqldb.Open(t.Context(), control)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	for i, fleet := range []string{"acme", ""} {
		if err := auditlog.Record(t.Context(), db, auditlog.Act{ID: fmt.Sprint(i), At: time.Now(), Fleet: fleet,
			Method: "POST", Path: "/"}); err != nil {
			t.Fatal(err)
		}
	}
	rollups := "sqlite://" + filepath.Join(dir, "rollups.db")
	env := service.NewEnvironment()
	must(t, Register(env))
	return kept{env, fmt.Sprintf(`raw: {url: %q}, dead_letters: {url: %q}, rollups: {url: %q}, control: {url: %q}`,
		lake.FileURL(dir+"/raw"), lake.FileURL(dir+"/dead"), rollups, control), db, [2]string{rollups, control}}
}

func of(t *testing.T, r retention.Report, store string) lifecycle.Share {
	t.Helper()
	for _, s := range r.Stores {
		if s.Store == store {
			return s
		}
	}
	t.Fatalf("no report of %s: %+v", store, r)
	return lifecycle.Share{}
}

func at(d time.Duration) string { return ", now: " + time.Now().Add(d).UTC().Format(time.RFC3339) }

const day = 24 * time.Hour

func TestRetention_EveryStoreForgetsByOneClock(t *testing.T) {
	s := aged(t)
	if r, err := maintained(t, s.env, s.conf); err != nil || of(t, r, "audit_log").Rows != 0 || len(r.Stores) != 17 {
		t.Fatalf("today: %+v, %v", r, err)
	}
	if r, err := maintained(t, s.env, s.conf+at(731*day)+", dry_run: true"); err != nil ||
		of(t, r, "audit_log").Rows != 2 {
		t.Fatalf("a dry run: %+v, %v", r, err)
	}
	holds, err := hold.Open(t.Context(), s.control)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := holds.Place(t.Context(), "other", "case 7", "k"); err != nil {
		t.Fatal(err)
	}
	if r, err := maintained(t, s.env, s.conf+at(731*day)); err != nil || of(t, r, "audit_log").Rows != 1 ||
		of(t, r, "audit_log").Kept != 1 || fmt.Sprint(r.Held) != "[other]" {
		t.Fatalf("held: %+v, %v", r, err)
	}
	if _, err := holds.Release(t.Context(), "other", "k"); err != nil {
		t.Fatal(err)
	}
	if r, err := maintained(t, s.env, s.conf+at(731*day)); err != nil || of(t, r, "audit_log").Rows != 1 {
		t.Fatalf("after the hold: %+v, %v", r, err)
	}
	for range 3 { // which find nothing
		if _, err := maintained(t, s.env, s.conf+at(731*day)); err != nil {
			t.Fatal(err)
		}
	}
	runs, err := retention.Runs(t.Context(), s.control, 100)
	if err != nil || len(runs) != 3 || runs[0].Removed().Rows != 0 {
		t.Fatalf("of seven runs, the two that deleted something and the last are kept: %+v, %v", runs, err)
	}
	if _, err := maintained(t, s.env, s.conf+", now: tomorrow"); err == nil {
		t.Fatal("a time that is none was accepted")
	}
}

func TestRetention_AStoreThatFailsKeepsNoOtherFromItsTurn(t *testing.T) {
	s := aged(t)
	r, err := maintained(t, s.env, s.away(0)+at(731*day))
	if err == nil || !strings.Contains(err.Error(), "rollups") || of(t, r, "rollups").Error == "" || r.Failed() != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	if of(t, r, "audit_log").Rows != 2 || of(t, r, "raw").Error != "" {
		t.Fatalf("one failure stopped the others: %+v", r)
	}
}

func TestRetention_WithoutTheControlStoreNothingIsDeleted(t *testing.T) {
	s := aged(t)
	r, err := maintained(t, s.env, s.away(1)+at(731*day))
	if err == nil || r.Failed() < 4 || r.Removed().Rows != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
}
