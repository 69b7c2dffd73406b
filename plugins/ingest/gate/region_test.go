package gate

import (
	"cmp"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"weir/tests/integration/mmdb"
)

func TestRegion_WhatIsTakenFromWhere(t *testing.T) {
	for _, c := range []struct {
		regions regions
		taken   string // of the regions below, ? is one that is not known
	}{
		{regions{}, "DE US US-CA US-TX ?"},
		{regions{unknown: true}, "DE US US-CA US-TX"},
		{regions{refuse: []string{"US"}}, "DE ?"},
		{regions{refuse: []string{"US-CA"}}, "DE US-TX ?"}, // US alone may be there
		{regions{only: []string{"US"}}, "US US-CA US-TX"},
		{regions{only: []string{"US-TX", "DE"}}, "DE US-TX"},
		{regions{only: []string{"US"}, refuse: []string{"US-CA"}}, "US-TX"},
	} {
		var taken []string
		for _, region := range []string{"DE", "US", "US-CA", "US-TX", ""} {
			if c.regions.takes(region) {
				taken = append(taken, cmp.Or(region, "?"))
			}
		}
		if got := strings.Join(taken, " "); got != c.taken {
			t.Errorf("%+v takes %q, expected %q", c.regions, got, c.taken)
		}
	}
}

func TestRegion_OnlyTrustedProxiesAreBelieved(t *testing.T) {
	r, err := readRegions(regionConfig(t, "{ file: x, trusted_proxies: [10.0.0.0/8, 'fd00::/8'] }"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ peer, forwarded, want string }{
		{"203.0.113.7:1", "198.51.100.1", "203.0.113.7"}, // anybody may write that
		{"203.0.113.7:1", "", "203.0.113.7"},
		{"10.0.0.1:1", "", "10.0.0.1"},
		{"10.0.0.1:1", "198.51.100.1", "198.51.100.1"},
		{"10.0.0.1:1", "192.0.2.1, 198.51.100.1", "198.51.100.1"},
		{"10.0.0.1:1", "192.0.2.1,198.51.100.1 , 10.7.7.7", "198.51.100.1"},
		{"10.0.0.1:1", "10.1.1.1, 10.2.2.2", "10.1.1.1"},
		{"10.0.0.1:1", "198.51.100.1:4711", "198.51.100.1"},
		{"[fd00::1]:1", "2001:db8::5", "2001:db8::5"},
		{"[::ffff:10.0.0.1]:1", "::ffff:198.51.100.1", "198.51.100.1"},
		{"10.0.0.1:1", "198.51.100.1, unknown", ""},
		{"pipe", "198.51.100.1", ""},
	} {
		at, ok := r.sender(caller{from: c.peer, forwarded: c.forwarded})
		if ok != (c.want != "") || ok && at.String() != c.want {
			t.Errorf("%s, %q: %v %v", c.peer, c.forwarded, at, ok)
		}
	}
}

func regionConfig(t *testing.T, geo string) *service.ParsedConfig {
	t.Helper()
	parsed, err := service.NewConfigSpec().Field(geoField()).ParseYAML("geo: "+geo, nil)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestRegion_WrongConfigsAreRefused(t *testing.T) {
	for _, wrong := range []string{"{ refuse: [US] }", "{ only: [US] }", "{ refuse_unknown: true }",
		"{ file: x, refuse: [usa] }",
		"{ file: x, only: [''] }", "{ file: x, trusted_proxies: [10.0.0.1] }"} {
		if _, err := readRegions(regionConfig(t, wrong)); err == nil {
			t.Errorf("%s is taken", wrong)
		}
	}
}

// A request from a region that is refused is not taken, over each protocol; of the
// others the events carry the region, and the address is nowhere.
func TestRegion_IsDecidedBeforeAnythingIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "geo.mmdb")
	mmdb.Write(t, path, map[string]any{"203.0.113.0/24": map[string]any{"country_code": "DE"},
		"198.51.100.0/24": map[string]any{"country_code": "KP"}})
	w, c, ctx := grpcWorld(t, "    geo: { file: '"+path+"', refuse: [KP], trusted_proxies: [127.0.0.0/8] }\n")
	const refused = http.StatusUnavailableForLegalReasons
	for address, want := range map[string]int{"203.0.113.7": http.StatusAccepted, "198.51.100.7": refused,
		"192.0.2.1": http.StatusAccepted, "203.0.113.9, 198.51.100.7": refused} {
		if r := w.post(goodEvent, "X-Forwarded-For", address); r.status != want || strings.Contains(r.body, "198.") {
			t.Errorf("%s: %d %s", address, r.status, r.body)
		}
	}
	if _, err := c.Publish(metadata.AppendToOutgoingContext(ctx, "x-forwarded-for", "198.51.100.7"),
		events(goodEvent)); status.Code(err) != codes.PermissionDenied {
		t.Error(err)
	}
	if _, err := c.Publish(metadata.AppendToOutgoingContext(ctx, "x-forwarded-for", "203.0.113.7"),
		events(goodEvent)); err != nil {
		t.Error(err)
	}
	regions := map[string]int{}
	for _, d := range w.sink.all() {
		if regions[d.region]++; d.value != goodEvent {
			t.Errorf("%+v", d)
		}
	}
	if regions["DE"] != 2 || regions[""] != 1 || len(regions) != 2 {
		t.Errorf("taken from %v", regions)
	}
}
