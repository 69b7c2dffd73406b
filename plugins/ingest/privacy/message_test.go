package privacy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/platform/rawjson"
)

// Whatever failed before carries nothing personal on: neither its bytes, which
// become a dead letter, nor the reason, which the device and the log are told.
func TestPrivacy_WhatFailedBeforeIsMaskedWithItsReason(t *testing.T) {
	p, err := newProcessor(parsed(t, "{}"), service.MockResources())
	if err != nil {
		t.Fatal(err)
	}
	const raw = `{"device_id":"pump-1","note":"ann@example.com"}`
	clean := service.NewMessage([]byte(`{"device_id":"pump-1"}`))
	refused, failed := service.NewMessage([]byte(raw)), service.NewMessage([]byte(raw))
	event.MarkRejected(refused, event.Reject(event.CodeInvalidEvent, "/tel/+49 151 12345678",
		"ann@example.com is no UUID"))
	failed.SetError(errors.New(`cannot read "ann@example.com"`))
	late := service.NewMessage([]byte(raw))
	original := []byte(raw)
	event.KeepOriginal(late, &original)
	batch := service.MessageBatch{clean, refused, failed, late}
	out, err := p.ProcessBatch(context.Background(), batch)
	if err != nil || len(out) != 1 || len(out[0]) != len(batch) {
		t.Fatalf("%v %v", out, err)
	}
	if clean.GetError() != nil {
		t.Errorf("a clean event failed: %v", clean.GetError())
	}
	for i, want := range []string{"", "invalid_event: /tel/[phone]: [email] is no UUID",
		`processing_failed: cannot read "[email]"`,
		"processing_failed: " + errLate} {
		if i == 0 {
			continue
		}
		if got, _ := batch[i].AsBytes(); strings.Contains(string(got), "ann@") {
			t.Errorf("event %d stays %s", i, got)
		}
		if got := batch[i].GetError(); got == nil || got.Error() != want {
			t.Errorf("event %d: %v, want %s", i, got, want)
		}
		_ = batch[i].MetaWalk(func(key, value string) error {
			if strings.Contains(value, "ann@") {
				t.Errorf("event %d: metadata %s has %s", i, key, value)
			}
			return nil
		})
	}
	if kept, _ := event.Altered(late); strings.Contains(string(kept), "ann@") {
		t.Errorf("what was kept of a judged event: %s", kept)
	}
}

// The same events, whoever is beside them and how often they come, are the same
// bytes.
func TestPrivacy_IsAFunctionOfItsEvent(t *testing.T) {
	p, err := newProcessor(parsed(t, "{ action: hash, keys: "+testKeys+" }"), service.MockResources())
	if err != nil {
		t.Fatal(err)
	}
	once := func(fleets ...string) (out []string) {
		var batch service.MessageBatch
		for i, fleet := range fleets {
			msg := service.NewMessage(fmt.Appendf(nil, `{"a":"ann@example.com","n":%d}`, i%2))
			msg.MetaSetMut(event.HeaderFleet, fleet)
			batch = append(batch, msg)
		}
		if _, err := p.ProcessBatch(context.Background(), batch); err != nil {
			t.Fatal(err)
		}
		for _, msg := range batch {
			b, _ := msg.AsBytes()
			out = append(out, string(b))
		}
		return out
	}
	a, b := once("x", "y", "x", "y"), once("x")
	if a[0] != b[0] || a[0] != a[2] || a[1] != a[3] || strings.ReplaceAll(a[1], `"n":1`, `"n":0`) == a[0] {
		t.Fatalf("%q %q", a, b)
	}
}

// A pass over any bytes leaves JSON JSON, and nothing for a second pass.
func FuzzPrivacy(f *testing.F) {
	for _, seed := range []string{
		`{"a":"ann@example.com","b":[1,{"ip":"1.2.3.4"}]}`, `{"a":"{\"b\":\"+49 151 12345678\"}"}`,
		`{"ann@x.io":1,"bob@x.io":2}`,
		`a@b.co@c.de`, `{"ip":1,"x":2,`, `"\u0040\ud83d\ude00%40&#64;"`, `{"a":"1.2.3.4.078-05-1120"}`, "\xff\xfe{\x00",
		`{"q":"?email=a%26b&password=x=y"}`, `[4111111111111111,"4111 1111 1111 1111"]`, `{"a":"pii-x-1-ab@x.io"}`,
	} {
		f.Add([]byte(seed))
	}
	yaml := `
actions: { ip: drop, secret: drop, email: hash, card: tokenise }
fields: { /x: drop, /y/*: hash, /z: keep }
keys: ` + testKeys
	w, plain := walkerOf(f, yaml), walkerOf(f, "{}")
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, w := range []*walker{w, plain} {
			once := string(w.bytes(raw))
			if twice := string(w.bytes([]byte(once))); twice != once {
				t.Fatalf("%q\nonce  %q\ntwice %q", raw, once, twice)
			}
			if rawjson.Document(raw) == nil {
				if err := rawjson.Document([]byte(once)); err != nil {
					t.Fatalf("%q\nbecame %q: %v", raw, once, err)
				}
			}
		}
	})
}
