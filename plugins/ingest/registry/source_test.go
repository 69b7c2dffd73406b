package registry

import (
	"testing"

	"weir/internal/event"
	"weir/internal/platform/sqldb"
)

func TestRegistry_ARebuildKnowsWhatSchemasHaveDeclaredSince(t *testing.T) {
	set, err := LoadSet(t.Context(), Place{URL: "file://../../../schemas"}, "telemetry")
	if err != nil {
		t.Fatal(err)
	}
	metrics := []event.Metric{{Name: "cpu_temp"}, {Name: "flow_rate"}, {Name: "a,b"}}
	if got := set.UnknownMetrics("3.1.0", metrics, "flow_rate,a%2Cb"); got != "a%2Cb" {
		t.Errorf("got %q", got)
	}
	if got := set.UnknownMetrics("9.0.0", metrics, "flow_rate"); got != "flow_rate" {
		t.Errorf("got %q", got)
	}
}

func TestRegistry_SchemasByPostgres(t *testing.T) {
	stores(t, func(t *testing.T, db *sqldb.DB) {
		if _, err := Open(t.Context(), db); err != nil {
			t.Fatal(err)
		}
		s := &sqlSource{registry: &Registry{store: registryStore{db}}}
		docs, err := s.load(t.Context(), "telemetry")
		if err != nil || len(docs) < 3 {
			t.Errorf("%d versions (%v)", len(docs), err)
		}
		if _, err := s.load(t.Context(), "none"); err == nil {
			t.Error("a subject without versions was loaded")
		}
	})
}
