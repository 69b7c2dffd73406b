package privacy

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/schemas"
)

func TestPrivacy_SchemasSayWhatIsPersonal(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, schemas.FS()); err != nil {
		t.Fatal(err)
	}
	yaml := "{ keys: " + testKeys + ", schemas: { url: 'file://" + dir + "' } }"
	p, err := newProcessor(parsed(t, yaml), service.MockResources())
	if err != nil {
		t.Fatal(err)
	}
	msg := service.NewMessage([]byte(`{"user":{"id":"u-1","name":"Ann","address":{"city":"Ulm"},"plan":"free"},` +
		`"context":{"ip":"203.0.113.7","location":{"lat":48.4},"user_agent":"x"},"payload":{"id":"u-1"}}`))
	if _, err := p.ProcessBatch(context.Background(), service.MessageBatch{msg}); err != nil {
		t.Fatal(err)
	}
	raw, _ := msg.AsBytes()
	var e struct{ User, Context, Payload map[string]any }
	if err := json.Unmarshal(raw, &e); err != nil {
		t.Fatal(err)
	}
	id, _ := e.User["id"].(string)
	if !strings.HasPrefix(id, "pii-field-k2-") || e.User["name"] != "[name]" || e.User["plan"] != "free" ||
		e.Context["location"] != nil || e.Context["ip"] != "[ip]" || e.Context["user_agent"] != "x" ||
		e.Payload["id"] != "u-1" ||
		strings.Contains(string(raw), "Ulm") {
		t.Fatalf("%s", raw)
	}
	if err := p.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func TestPrivacy_AnnotationsAreFoundWhereverASchemaHasThem(t *testing.T) {
	w := walkerOf(t, "{}")
	wrong := w.p.annotate(w.root, []byte(`{
		"$defs": {"who": {"properties": {"tag": {"x-pii": "drop"}, "boss": {"$ref": "#/$defs/who"}}}},
		"properties": {
			"a": {"$ref": "#/$defs/who"}, "list": {"items": {"properties": {"x": {"x-pii": "mask"}}}},
			"map": {"additionalProperties": {"x-pii": "ssn"}}, "odd": {"x-pii": "burn"}, "no": {"x-pii": 1},
			"key": {"x-pii": "hash"}, "event_id": {"x-pii": "drop"}},
		"allOf": [{"properties": {"b/c": {"x-pii": "drop"}}}]}`))
	if len(wrong) != 4 {
		t.Errorf("wrong: %v", wrong)
	}
	got := masked(t, w, `{"a":{"tag":1,"boss":{"tag":2,"boss":{"tag":3}},"n":1},"list":[{"x":"y","n":2}],"map":{"k":"v"},`+
		`"odd":"o","no":"n","key":"k","b/c":4,"event_id":"e","left":"l"}`)
	if want := `{"a":{"boss":{"boss":{}},"n":1},"list":[{"x":"[field]","n":2}],"map":{"k":"[ssn]"},` +
		`"odd":"[field]","no":"[field]","key":"[field]","event_id":"[field]","left":"l"}`; got != want {
		t.Errorf("is  %s\nnot %s", got, want)
	}
}

// A schema that refers to itself in several ways is looked at as far as there is
// room, and it is said: its places are three times as many with each level.
func TestPrivacy_ASchemaOfItselfIsBounded(t *testing.T) {
	w := walkerOf(t, "{}")
	wrong := w.p.annotate(w.root, []byte(`{"$defs": {"who": {"properties": {"nick": {"x-pii": "mask"},
		"a": {"$ref": "#/$defs/who"}, "b": {"$ref": "#/$defs/who"}, "c": {"$ref": "#/$defs/who"}}}},
		"properties": {"who": {"$ref": "#/$defs/who"}}}`))
	if len(wrong) != 1 || !strings.Contains(wrong[0].Error(), "refers to itself") {
		t.Errorf("wrong: %v", wrong)
	}
	got := masked(t, w, `{"who":{"nick":"x","c":{"b":{"a":{"nick":"y","n":1}}}}}`)
	if want := `{"who":{"nick":"[field]","c":{"b":{"a":{"nick":"[field]","n":1}}}}}`; got != want {
		t.Errorf("is  %s\nnot %s", got, want)
	}
}

// Told to stop before any schema was known, it lets no value go on.
func TestPrivacy_WithoutSchemasNothingGoesOn(t *testing.T) {
	p, err := newProcessor(parsed(t, "{ schemas: { url: 'sqlite://"+t.TempDir()+"/r.db', subject: nobody } }"),
		service.MockResources())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	msg := service.NewMessage([]byte(`{"event_id":"e","user":{"nick":"annie"}}`))
	if _, err := p.ProcessBatch(ctx, service.MessageBatch{msg}); err != nil {
		t.Fatal(err)
	}
	if raw, _ := msg.AsBytes(); msg.GetError() == nil || strings.Contains(string(raw), "annie") {
		t.Fatalf("%s: %v", raw, msg.GetError())
	}
	_ = p.Close(context.Background())
}
