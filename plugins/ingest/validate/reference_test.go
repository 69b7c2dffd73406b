package validate

import (
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/riferrei/srclient"

	"weir/plugins/ingest/registry"
)

// withReferences registers a schema of events whose metrics are another
// subject's, and returns a place of each kind that has it.
func withReferences(t *testing.T) (places []string) {
	t.Helper()
	path := "sqlite://" + filepath.Join(t.TempDir(), "control.db")
	r, err := registry.Open(t.Context(), openDB(t, path))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(r.Handler())
	t.Cleanup(server.Close)
	cl := srclient.NewSchemaRegistryClient(server.URL)
	if _, err := cl.CreateSchema("metrics", `{"type":"object","required":["cpu_temp"],"properties":{"cpu_temp":{"type":"number","minimum":-100}},"additionalProperties":{"type":"number"}}`, srclient.Json); err != nil {
		t.Fatal(err)
	}
	const text = `{"x-weir-firmware":">=1.0.0 <2.0.0","type":"object","required":["event_id","device_id","device_firmware_version","timestamp","metrics"],"properties":{
		"event_id":{"type":"string","format":"uuid"},"device_id":{"type":"string"},"device_firmware_version":{"type":"string"},"timestamp":{"type":"string","format":"date-time"},"metrics":{"$ref":"metrics.json"}}}`
	s, err := cl.CreateSchema("field", text, srclient.Json, srclient.Reference{Name: "metrics.json", Subject: "metrics",
		Version: 1})
	if err != nil || len(s.References()) != 1 {
		t.Fatalf("got %+v (%v)", s, err)
	}
	return []string{path, server.URL}
}

func TestValidate_EventsAreJudgedBySchemasWithReferences(t *testing.T) {
	for _, place := range withReferences(t) {
		p := validatorOf(t, "url: "+place+"\nsubject: field")
		for raw, want := range map[string]string{
			event1("1.0.0", `{"cpu_temp":1}`):    "field/1",
			event1("1.0.0", `{"cpu_temp":-200}`): "schema_violation",
			event1("1.0.0", `{"fan":1}`):         "schema_violation",
		} {
			if got := judged(t, p, raw); got != want {
				t.Errorf("%s: %s is %s, want %s", place, raw, got, want)
			}
		}
		s := p.rules.Load().schemas[0]
		if s.plan == nil || !s.DeclaresMetric("cpu_temp") {
			t.Errorf("%s: plan %v", place, s.plan)
		}
	}
}
