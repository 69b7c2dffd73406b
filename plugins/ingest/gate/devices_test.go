package gate

import (
	"strings"
	"testing"
	"time"

	"weir/internal/event"
)

// asked is a request with an event of each device.
func asked(devices ...string) *request {
	r := &request{fleet: "acme"}
	for _, d := range devices {
		r.items = append(r.items, lone([]byte(`{"device_id":"`+d+`"}`)))
	}
	return r
}

func refusedOf(r *request) (refused []string) {
	for i := range r.items {
		if bad := r.items[i].bad; bad != nil && bad.Code == event.CodeTooManyDevices {
			refused = append(refused, string(r.items[i].device()))
		}
	}
	return refused
}

func TestDevices_NewOnesBeyondTheBoundAreRefused(t *testing.T) {
	d := newDevices(3)
	now := time.Now()
	d.now = func() time.Time { return now }
	all := func(int) bool { return true }
	step := func(name, want string, settle func(int) bool, devices ...string) {
		t.Helper()
		r := asked(devices...)
		fresh := d.admit(r)
		if got := strings.Join(refusedOf(r), " "); got != want {
			t.Errorf("%s: %q is refused, want %q", name, got, want)
		}
		d.settle(r.fleet, fresh, settle)
	}
	step("within", "", all, "a", "b", "a")
	step("one of a request", "d", all, "a", "c", "d", "b")
	step("known", "", all, "a", "b", "c")
	step("full", "e f", all, "e", "f", "a")
	if other := asked("x"); len(d.admit(&request{fleet: "other", items: other.items})) != 1 {
		t.Error("another fleet has no room of its own")
	}
	now = now.Add(20 * time.Hour)
	step("still heard of", "", all, "a")
	now = now.Add(10 * time.Hour)
	step("silent ones give up their places", "", all, "g", "h")
	step("and no more", "i", all, "i", "a")

	d = newDevices(2)
	step("whose events are not accepted", "", none, "a", "b")
	step("leave room", "", func(i int) bool { return i == 1 }, "c", "d")
	step("as one of these did", "f", all, "e", "f")
	step("a spelling is no device", "", all, `\u0065`, "e")
	unbound := newDevices(0)
	if r := asked("a"); unbound.admit(r) != nil || len(unbound.fleets) != 0 {
		t.Error("without a bound something is kept")
	}
}

func TestGate_RefusesDevicesBeyondTheBoundAlone(t *testing.T) {
	w := newWorld(t, "    limits: { max_devices_per_fleet: 2 }")
	of := func(device string) string { return strings.Replace(goodEvent, `"d-1"`, `"`+device+`"`, 1) }
	bad := strings.Replace(of("never"), `"metrics":{`, `"metrics":{"x":NaN,`, 1)
	for range 3 {
		if r := w.post(bad); r.status != 400 || r.Events[0].Code != "invalid_json" {
			t.Errorf("%d %s", r.status, r.body)
		}
	}
	if r := w.post("[" + of("a") + "," + of("b") + "," + of("c") + "]"); r.status != 207 ||
		r.Events[2].Code != "too_many_devices" || r.Events[1].Status != 202 {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := w.post("[" + of("a") + "," + of("b") + "]"); r.status != 202 {
		t.Errorf("devices that are known: %d %s", r.status, r.body)
	}
}
