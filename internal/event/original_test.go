package event

import (
	"fmt"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"
)

const kept = `{"event_id":"0197b2f4-5d0e-7c3a-9f1e-3b5a7c9d1e2f","device_id":"pump-1","device_firmware_version":"2.1.0",` +
	`"timestamp":"2026-11-21T09:15:00Z","metrics":{"cpu_temp":61.5},"diagnostics":{"user":"ada"}}`

func TestAltered_OnlyWhatMakesItAnotherEvent(t *testing.T) {
	event := func(id, device, at, rest string) string {
		return fmt.Sprintf(`{%s "timestamp":%q, "device_id":%q, "event_id":%q, "device_firmware_version":"2.1.0"}`, rest, at,
			device, id)
	}
	const id, at, metrics = "0197b2f4-5d0e-7c3a-9f1e-3b5a7c9d1e2f", "2026-11-21T09:15:00Z", `"metrics":{},`
	for name, c := range map[string]struct {
		now     string
		pointer string
		altered bool
	}{
		"untouched": {now: kept},
		"masked":    {now: event(id, "pump-1", at, metrics+`"diagnostics":{"user":"***"},`)},
		"written otherwise": {now: event("0197B2F4-5D0E-7C3A-9F1E-3B5A7C9D1E2F", "pump-1",
			"2026-11-21T10:15:00.000+01:00", metrics)},
		"another id": {now: event("1197b2f4-5d0e-7c3a-9f1e-3b5a7c9d1e2f", "pump-1", at, metrics),
			pointer: "/event_id", altered: true},
		"another device": {now: event(id, "pump-2", at, metrics), pointer: "/device_id", altered: true},
		"another time": {now: event(id, "pump-1", "2026-11-21T09:15:00.000001Z", metrics), pointer: "/timestamp",
			altered: true},
		"without metrics":       {now: event(id, "pump-1", at, ""), altered: true},
		"one field of it":       {now: `{"diagnostics":{"user":"***"}}`, altered: true},
		"nothing":               {now: ``, altered: true},
		"a text":                {now: `"ada"`, altered: true},
		"two of it in an array": {now: "[" + kept + "," + kept + "]", altered: true},
	} {
		raw := []byte(kept)
		msg := service.NewMessage(raw)
		KeepOriginal(msg, &raw)
		if c.now != kept {
			msg.SetBytes([]byte(c.now))
		}
		original, why := Altered(msg)
		if string(original) != kept || (why != nil) != c.altered {
			t.Errorf("%s: %s, %v", name, original, why)
		}
		if why != nil && (why.Code != CodeProcessingFailed || why.Errors[0].Pointer != c.pointer) {
			t.Errorf("%s: %+v", name, why)
		}
	}
	if original, why := Altered(service.NewMessage([]byte("x"))); original != nil || why != nil {
		t.Errorf("a message of which nothing was kept: %s, %v", original, why)
	}
}

func BenchmarkAltered(b *testing.B) {
	originals := make([][]byte, 100)
	batch := make(service.MessageBatch, 100)
	for i := range batch {
		originals[i] = []byte(kept)
		batch[i] = service.NewMessage(originals[i])
		for _, key := range []string{HeaderFleet, HeaderReceivedAt, MetaVerdicts, MetaIndex, HeaderSchema, MetaDevice} {
			batch[i].MetaSetMut(key, "x")
		}
	}
	for n := 0; n < b.N; n++ {
		KeepOriginal(batch[n%100], &originals[n%100])
		if _, why := Altered(batch[n%100]); why != nil {
			b.Fatal(why)
		}
	}
}
