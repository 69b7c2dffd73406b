package erasure

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/internal/control/identity"
	"weir/internal/lifecycle/tombstone"
)

// A person goes with all devices and names, also with a device that is found only
// when the first pass is over; their receipt names nobody.
func TestErasure_APersonIsErasedWithAllDevicesAndNames(t *testing.T) {
	w := newWorld(t, sqliteURL(t))
	p := &identity.Person{ID: "ann", Aliases: []string{"a1"}, Devices: []string{"phone", "tablet"}}
	r := w.runner("a")
	r.people = func(_ context.Context, fleet, person string) (*identity.Person, error) {
		if fleet != "shop" || person != "a1" {
			t.Errorf("asked for %s of %s", person, fleet)
		}
		return p, nil
	}
	id := w.ask(Spec{Fleet: "shop", Person: "a1", Reason: "ann, who is a1, asked"}).ID
	w.carry(r)
	until := *w.get(id).Until
	for _, name := range []string{"phone", "tablet"} {
		if !slices.Contains(w.buried, tombstone.Of("shop", name, until)) {
			t.Errorf("%s has no tombstone", name)
		}
	}
	p = &identity.Person{ID: "ann", Aliases: []string{"a1"}, Devices: []string{"phone", "laptop"}} // an event came late
	w.things["slow"] = 2
	w.now = w.now.Add(3 * time.Minute)
	w.carry(r)
	if e := w.get(id); e.phase != settle || fmt.Sprint(e.Devices) != "[phone tablet laptop]" || e.State != Running {
		t.Fatalf("a device that was found late: %+v", e)
	}
	w.recount = 2
	w.now = w.now.Add(3 * time.Minute)
	w.carry(r)
	e := w.get(id)
	if e.State != Done || e.Erased["quick"] != 3 || e.Erased["slow"] != 7 || e.Recounted != 6 || e.OfDevices != 3 ||
		e.OfAliases != 2 {
		t.Fatalf("%+v", e)
	}
	for name, stone := range map[string]tombstone.Stone{"phone": tombstone.Of("shop", "phone", until),
		"tablet": tombstone.Of("shop", "tablet", until), "laptop": tombstone.Of("shop", "laptop", until),
		"ann": tombstone.OfName("shop", "ann", until), "a1": tombstone.OfName("shop", "a1", until)} {
		if !slices.Contains(w.buried, stone) {
			t.Errorf("%s has no tombstone", name)
		}
	}
	if slices.Contains(w.buried, tombstone.Of("shop", "ann", until)) {
		t.Error("a device that is called like the person has a tombstone")
	}
	raw, err := json.Marshal(e)
	for _, name := range []string{`phone`, `laptop`, `ann`, `"a1"`} {
		if err != nil || strings.Contains(string(raw), name) {
			t.Errorf("the receipt has %s: %s %v", name, raw, err)
		}
	}
	if e.Subject != tombstone.Subject("shop", "a1") {
		t.Errorf("subject %s", e.Subject)
	}
	var left int
	if err := w.db.QueryRow(`SELECT count(*) FROM erased_count`).Scan(&left); err != nil || left != 0 {
		t.Errorf("%d counts are left (%v)", left, err)
	}
}

// A name that is found when the first pass is over is buried, and erased in two passes of
// its own: else what writers had begun with it would stay.
func TestErasure_ANameThatIsFoundLateHasItsOwnTwoPasses(t *testing.T) {
	w := newWorld(t, sqliteURL(t))
	p := &identity.Person{ID: "ann", Devices: []string{"phone"}}
	r := w.runner("a")
	r.people = func(context.Context, string, string) (*identity.Person, error) { return p, nil }
	id := w.ask(Spec{Fleet: "shop", Person: "ann", Reason: "why"}).ID
	w.carry(r)
	p = &identity.Person{ID: "ann", Aliases: []string{"a|2"}, Devices: []string{"phone"}}
	w.now = w.now.Add(3 * time.Minute)
	w.carry(r)
	if e := w.get(id); e.State != Running || e.phase != settle ||
		!slices.Contains(w.buried, tombstone.OfName("shop", "a|2", *e.Until)) {
		t.Fatalf("%+v %v", e, w.buried)
	}
	w.now = w.now.Add(3 * time.Minute)
	w.carry(r)
	if e := w.get(id); e.State != Done || e.OfAliases != 2 {
		t.Fatalf("%+v", e)
	}
}

func TestErasure_APersonsSharedDevicesGoOnlyIfTheyMay(t *testing.T) {
	w := newWorld(t, sqliteURL(t))
	r := w.runner("a")
	r.people = func(context.Context, string, string) (*identity.Person, error) {
		return &identity.Person{ID: "ann", Devices: []string{"phone", "kiosk"}, Shared: []string{"kiosk"}}, nil
	}
	refused := w.ask(Spec{Fleet: "shop", Person: "ann", Reason: "why"}).ID
	w.carry(r)
	if e := w.get(refused); e.State != Refused || !strings.Contains(e.Error, "1 of the person's 2 devices") ||
		len(w.did) != 0 || e.Person != "" {
		t.Fatalf("%+v %v", e, w.did)
	}
	id := w.ask(Spec{Fleet: "shop", Person: "ann", SharedDevices: true, Reason: "why"}).ID
	w.carry(r)
	w.now = w.now.Add(3 * time.Minute)
	w.carry(r)
	if e := w.get(id); e.State != Done || e.OfDevices != 2 || e.Erased["slow"] != 5 {
		t.Fatalf("%+v", e)
	}
	for body, says := range map[string]string{
		`{"fleet":"shop","person":"ann","device_id":"d","reason":"why"}`:      "one of them",
		`{"fleet":"shop","person":"ann","whole_fleet":true,"reason":"why"}`:   "one of them",
		`{"fleet":"shop","device_id":"d","shared_devices":true,"reason":"w"}`: "name the person",
	} {
		answer := httptest.NewRecorder()
		Handler(w.store, w.holds, nil).ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodPost,
			"/v1/erasures", strings.NewReader(body)))
		if answer.Code != http.StatusBadRequest || !strings.Contains(answer.Body.String(), says) {
			t.Errorf("%s was answered %d %s", body, answer.Code, answer.Body)
		}
	}
}
