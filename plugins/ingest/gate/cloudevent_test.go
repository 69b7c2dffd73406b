package gate

import (
	"encoding/json"
	"strings"
	"testing"

	"weir/internal/event"
	"weir/internal/platform/text"
)

const cloudData = `"data":{"device_firmware_version":"1.2.0","metrics":{"cpu_temp":41.50}}`

func TestGate_CloudEventsBecomeEvents(t *testing.T) {
	for _, c := range []struct{ name, in, id, device, time string }{
		{"attributes fill in", `{"specversion":"1.0","type":"t","source":"/plants/3/pump-7","id":"5f0c9d0e-31f4-4c0e-8f0a-9d8f6f3b2a10","time":"2026-11-21T09:00:00Z",` + cloudData + `}`,
			"5f0c9d0e-31f4-4c0e-8f0a-9d8f6f3b2a10", "pump-7", "2026-11-21T09:00:00Z"},
		{"the subject is the device", `{"specversion":"1.0","type":"t","source":"urn:x","subject":"pump-8","id":"5f0c9d0e-31f4-4c0e-8f0a-9d8f6f3b2a10","time":"2026-11-21T09:00:00Z",` + cloudData + `}`,
			"5f0c9d0e-31f4-4c0e-8f0a-9d8f6f3b2a10", "pump-8", "2026-11-21T09:00:00Z"},
		{"the data wins", `{"specversion":"1.0","type":"t","source":"s","id":"5f0c9d0e-31f4-4c0e-8f0a-9d8f6f3b2a10","time":"2000-01-01T00:00:00Z",` +
			`"data":{"event_id":"5f0c9d0e-31f4-4c0e-8f0a-9d8f6f3b2a10","device_id":"d-1","timestamp":"2026-11-21T09:00:00+01:00","device_firmware_version":"1.2.0","metrics":{}}}`,
			"5f0c9d0e-31f4-4c0e-8f0a-9d8f6f3b2a10", "d-1", "2026-11-21T09:00:00+01:00"},
		{"any id", `{"specversion":"1.0","type":"t","source":"s","id":"A-1","time":"2026-11-21T09:00:00Z",` + cloudData + `}`,
			(&cloudEvent{source: "s", id: "A-1"}).eventID(), "s", "2026-11-21T09:00:00Z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			it := fromCloudEvent(lone([]byte(c.in)))
			if it.bad != nil {
				t.Fatal(it.bad)
			}
			var e event.Event
			if err := event.Parse(it.raw, &e); err != nil {
				t.Fatalf("%v: %s", err, it.raw)
			}
			if e.ID != c.id || string(it.id) != c.id || e.Device != c.device || e.TimeText != c.time || len(e.Extra) != 1 ||
				e.Extra[0].Name != "cloudevent" {
				t.Errorf("%+v", e)
			}
			if strings.Contains(c.in, "41.50") && string(e.Metrics[0].Raw) != "41.50" {
				t.Errorf("the number was altered: %s", it.raw)
			}
			var kept map[string]any
			if err := json.Unmarshal(e.Extra[0].Raw, &kept); err != nil || kept["source"] == nil || kept["type"] != "t" ||
				kept["data"] != nil {
				t.Errorf("%v %v", kept, err)
			}
		})
	}
	a, b := (&cloudEvent{source: "s", id: "1"}).eventID(), (&cloudEvent{source: "r", id: "1"}).eventID()
	if _, ok := text.ParseUUID(a); !ok || a == b {
		t.Errorf("%s %s", a, b)
	}
}

func TestGate_CloudEventsThatAreNone(t *testing.T) {
	good := `{"specversion":"1.0","type":"t","source":"s","id":"1",` + cloudData + `}`
	for in, code := range map[string]event.Code{
		`[]`:       event.CodeInvalidEvent,
		`{`:        event.CodeInvalidJSON,
		good + "x": event.CodeInvalidJSON,
		strings.Replace(good, `"1.0"`, `"0.3"`, 1):                      event.CodeInvalidEvent,
		strings.Replace(good, `"id":"1",`, ``, 1):                       event.CodeInvalidEvent,
		strings.Replace(good, `"id":"1"`, `"id":1`, 1):                  event.CodeInvalidEvent,
		strings.Replace(good, `"source":"s",`, ``, 1):                   event.CodeInvalidEvent,
		strings.Replace(good, `"type":"t",`, ``, 1):                     event.CodeInvalidEvent,
		strings.Replace(good, cloudData, `"x":1`, 1):                    event.CodeInvalidEvent,
		strings.Replace(good, cloudData, `"data":"x"`, 1):               event.CodeInvalidEvent,
		strings.Replace(good, cloudData, `"data_base64":"e30="`, 1):     event.CodeInvalidEvent,
		strings.Replace(good, `"data":{`, `"data":{"event_id":"2",`, 1): event.CodeInvalidEvent,
		strings.Replace(good, `"data":{`, `"data":{"cloudevent":2,`, 1): event.CodeInvalidEvent,
		strings.Replace(good, `"id":"1"`, `"id":"1","id":"2"`, 1):       event.CodeInvalidJSON,
		strings.Replace(good, `41.50`, `NaN`, 1):                        event.CodeInvalidJSON,
	} {
		it := fromCloudEvent(lone([]byte(in)))
		if it.bad == nil || it.bad.Code != code || string(it.raw) != in {
			t.Errorf("%s: %+v", in, it.bad)
		}
	}
}

func TestGate_CloudEventsBatchOverHTTP(t *testing.T) {
	w := newWorld(t, "")
	one := func(id string) string {
		return `{"specversion":"1.0","type":"t","source":"s","subject":"d-1","id":"` + id +
			`","time":"2026-11-21T09:00:00Z",` + cloudData + `}`
	}
	r := w.send("POST", "/v1/events", "application/cloudevents-batch+json; charset=utf-8",
		[]byte("["+one("a")+`,{"id":1},`+one("5f0c9d0e-31f4-4c0e-8f0a-9d8f6f3b2a10")+"]"))
	if r.status != 207 || *r.Accepted != 2 || r.Events[1].Code != "invalid_event" ||
		*r.Events[2].EventID != "5f0c9d0e-31f4-4c0e-8f0a-9d8f6f3b2a10" {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := w.send("POST", "/v1/events", "application/cloudevents+json", []byte(one("b"))); r.status != 202 {
		t.Errorf("%d %s", r.status, r.body)
	}
}

func FuzzCloudEvent(f *testing.F) {
	f.Add([]byte(`{"specversion":"1.0","type":"t","source":"s","id":"1",` + cloudData + `}`))
	f.Add([]byte(`{"specversion":"1.0","type":"t","source":"a/","id":"\u0041","data":{},"x":[]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		it := fromCloudEvent(lone(raw))
		if it.bad == nil && !json.Valid(it.raw) {
			t.Fatalf("%q became %q", raw, it.raw)
		}
	})
}
