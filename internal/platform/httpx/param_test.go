package httpx

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestHTTP_ACursorGoesOnWithItsOwnQueryOnly(t *testing.T) {
	type place struct{ Device string }
	asked := url.Values{"device": {"a,b"}, "from": {"x"}}
	hash := Hash(asked, "acme", "device", "from")
	text := Cursor(place{"b"}, 10, 20, hash)
	at, from, to, bad := Resume[place](url.Values{"cursor": {text}}, hash)
	if bad != nil || at.Device != "b" || from != 10 || to != 20 {
		t.Fatal(at, from, to, bad)
	}
	for name, v := range map[string]string{"another query's": Cursor(place{}, 1, 2, Hash(asked, "other", "device",
		"from")), "none of ours": "%%"} {
		if _, _, _, bad := Resume[place](url.Values{"cursor": {v}}, hash); bad == nil || bad.Status != 400 {
			t.Errorf("%s: %v", name, bad)
		}
	}
	if at, _, _, bad := Resume[place](url.Values{}, hash); at != nil || bad != nil {
		t.Error("a first page:", at, bad)
	}
}

func TestHTTP_WhatIsWrongWithAParameterNamesIt(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for query, want := range map[string]string{
		"": "", "device=a&device=b,c&limit=7&from=2026-11-21T10:00:00%2B01:00": "", "from=2026-11-21T10:00:00+01:00": "",
		"x=1": "x: unknown; expected device, from, to or limit", "limit=1&limit=2": "limit: given more than once",
		"limit=11":   "limit: ",
		"device=%20": "device: ", "to=tomorrow": "to: ", "from=2027-01-01T00:00:00Z": "from: ", "%zz": "query: ",
	} {
		r := httptest.NewRequest("GET", "/?"+query, nil)
		v, bad := Parse(r, []string{"from", "to", "limit", "fleet"}, []string{"device"})
		if bad == nil {
			_, bad = Devices(v, func(id string) bool { return len(id) == 1 && id != " " })
		}
		if bad == nil {
			_, _, bad = Range(v, now, time.Hour)
		}
		if bad == nil {
			_, bad = Limit(v, 5, 10)
		}
		switch {
		case want == "" && bad != nil:
			t.Errorf("%s: %s", query, bad.Detail)
		case want != "" && (bad == nil || !strings.HasPrefix(bad.Detail, want) || bad.Status != 400):
			t.Errorf("%s: %+v, want %q", query, bad, want)
		}
	}
}

func TestHTTP_AByteOrderMarkIsPassedOver(t *testing.T) {
	var into struct{ Name string }
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("\uFEFF"+`{"name":"x"}`))
	if err := Decode(w, r, 100, &into); err != nil || into.Name != "x" {
		t.Errorf("read %+v: %v", into, err)
	}
	r = httptest.NewRequest(http.MethodPost, "/", strings.NewReader("\uFEFF"+`{"name":"`+strings.Repeat("x", 100)+`"}`))
	if err := Decode(w, r, 100, &into); err == nil {
		t.Error("a body beyond the bound is read")
	}
}

func TestHTTP_AListIsReadFromItsNewest(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	limit, before, bad := Before(url.Values{}, now, 20, 100)
	if limit != 20 || !before.After(now) || bad != nil {
		t.Error(limit, before, bad)
	}
	limit, before, bad = Before(url.Values{"limit": {"7"}, "before": {"2026-11-20T00:00:00Z"}}, now, 20, 100)
	if limit != 7 || before.Day() != 20 || bad != nil {
		t.Error(limit, before, bad)
	}
	for _, v := range []url.Values{{"limit": {"101"}}, {"before": {"yesterday"}}} {
		if _, _, bad := Before(v, now, 20, 100); bad == nil || bad.Status != 400 {
			t.Errorf("%v: %v", v, bad)
		}
	}
}
