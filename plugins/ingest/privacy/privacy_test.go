package privacy

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/platform/rawjson"
)

const testKeys = "k2:0123456789abcdef k1:fedcba9876543210"

// parsed is a processor's config in YAML.
func parsed(t testing.TB, yaml string) *service.ParsedConfig {
	t.Helper()
	c, err := spec().ParseYAML(yaml, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func walkerOf(t testing.TB, yaml string) *walker {
	t.Helper()
	p, _, err := policyOf(parsed(t, yaml))
	if err != nil {
		t.Fatal(err)
	}
	return &walker{p: p, root: p.fields, keys: p.keys.of("plant-1"), known: map[string]named{}}
}

// masked masks twice: the second pass changes nothing.
func masked(t testing.TB, w *walker, raw string) string {
	t.Helper()
	once := string(w.bytes([]byte(raw)))
	if twice := string(w.bytes([]byte(once))); twice != once {
		t.Fatalf("a second pass changes %q\nto %q", once, twice)
	}
	if rawjson.Document([]byte(raw)) == nil {
		if err := rawjson.Document([]byte(once)); err != nil {
			t.Fatalf("%s is no JSON any more: %v\n%s", raw, err, once)
		}
	}
	return once
}

func TestPrivacy_MasksWhatIsPersonalAndNothingElse(t *testing.T) {
	w := walkerOf(t, "{}")
	for raw, want := range map[string]string{
		`{"a":"ann@example.com", "n": 1.50e+2 ,"b":[true,null,-0.0]}`:                                           `{"a":"[email]", "n": 1.50e+2 ,"b":[true,null,-0.0]}`,
		`{"a":"write to ann@example.com or +49 151 12345678"}`:                                                  `{"a":"write to [email] or [phone]"}`,
		`{"a":"ann\u0040example.com"}`:                                                                          `{"a":"[email]"}`,
		`{"a":"a\u200bnn@example\u002ecom"}`:                                                                    `{"a":"[email]"}`,
		`{"a":"{\"mail\":\"x\",\"b\":[\"ann@example.com\"]}"}`:                                                  `{"a":"{\"mail\":\"[email]\",\"b\":[\"[email]\"]}"}`,
		`{"a":"{\"b\":\"{\\\"c\\\":\\\"203.0.113.7\\\"}\"}"}`:                                                   `{"a":"{\"b\":\"{\\\"c\\\":\\\"[ip]\\\"}\"}"}`,
		`{"url":"https://x.example/?email=ann%40example.com&password=hunter2&q=1#top"}`:                         `{"url":"https://x.example/?email=[email]&password=[secret]&q=1#top"}`,
		`{"url":"https://x.example/p?u=%2B49%20151%2012345678"}`:                                                `{"url":"https://x.example/p?u=[phone]"}`,
		`{"ann@example.com":1,"bob@example.com":2,"c":3}`:                                                       `{"[email]":1,"[email]:2":2,"c":3}`,
		`{"[email]":1,"ann@example.com":2}`:                                                                     `{"[email]":1,"[email]:2":2}`,
		`{"user":{"firstName":"Ann","last_name":"Lee","Address-Line":"x","note":"hi"}}`:                         `{"user":{"firstName":"[name]","last_name":"[name]","Address-Line":"[address]","note":"hi"}}`,
		`{"email":"","phone":null,"mobile_phone":true,"password":123456,"passport":"X1"}`:                       `{"email":"","phone":null,"mobile_phone":true,"password":"[secret]","passport":"[document]"}`,
		`{"phone":491511234567,"phones":["0151","030"],"emails":[]}`:                                            `{"phone":"[phone]","phones":["[phone]","[phone]"],"emails":[]}`,
		`{"card":4111111111111111,"order_id":4111111111111111,"ts":1732700000000}`:                              `{"card":"[card]","order_id":4111111111111111,"ts":1732700000000}`,
		`{"metrics":{"a":4111111111111111,"phone":4111111111111111,"ann@example.com":1}}`:                       `{"metrics":{"a":4111111111111111,"phone":4111111111111111,"[email]":1}}`,
		`{"device_id":"pump-1","firmware":"10.20.30.40","user_agent":"X/126.0.0.0"}`:                            `{"device_id":"pump-1","firmware":"10.20.30.40","user_agent":"X/126.0.0.0"}`,
		`{"event_id":"41111111-1111-4111-8111-111111111111","timestamp":"2026-11-27T09:15:00.123456789+01:00"}`: `{"event_id":"41111111-1111-4111-8111-111111111111","timestamp":"2026-11-27T09:15:00.123456789+01:00"}`,
		`"ann@example.com"`: `"[email]"`, `["ann@example.com",["203.0.113.7"]]`: `["[email]",["[ip]"]]`,
		`4111111111111111`: `"[card]"`,
		// what is no JSON is text
		`ann@example.com`: `[email]`, `{"email":"ann`: `{"email":"[email]"`, `{"a":"ann@example.com",`: `{"a":"[email]",`,
		`{"a":ann@example.com}`: `{"a":[email]}`, `tel +49 151 12345678`: `tel [phone]`,
		"\xff ann@example.com \xfe":    "\xff [email] \xfe",
		`{"a":"x\"ann@example.com"}}}`: `{"a":"x\"[email]"}}}`, `{"password":"pw" "x"`: `{"password":"[secret]" "x"`,
	} {
		if got := masked(t, w, raw); got != want {
			t.Errorf("%s\nis  %s\nnot %s", raw, got, want)
		}
	}
}

func TestPrivacy_ActionsByKindAndByField(t *testing.T) {
	w := walkerOf(t, `
actions: { ip: drop, secret: drop, card: keep, name: keep }
fields: { /context/session: hash, /context/raw: keep, /items/*/owner: drop, /tags/*: field, /x: drop, /user: email }
keys: `+testKeys)
	for raw, want := range map[string]string{
		`{"a":"from 203.0.113.7!","card":"4111111111111111","first_name":"Ann"}`: `{"a":"from !","card":"4111111111111111","first_name":"Ann"}`,
		`{"ip":"1.2.3.4","b":1}`: `{"b":1}`, `{"b":1,"ip":"1.2.3.4"}`: `{"b":1}`, `{"ip":"1.2.3.4"}`: `{}`,
		`{ "ip":"1.2.3.4" , "password":{"a":[1,"}"]} , "b":1 , "x":2 , "pwd":3 }`: `{"b":1 }`,
		`{"x":1,"b":{"ip":"1","c":2},"y":3}`:                                      `{"b":{"c":2},"y":3}`,
		`{"context":{"raw":{"mail":"ann@example.com"},"n":1}}`:                    `{"context":{"raw":{"mail":"ann@example.com"},"n":1}}`,
		`{"items":[{"owner":"Ann","n":1},{"n":2,"owner":7}]}`:                     `{"items":[{"n":1},{"n":2}]}`,
		`{"tags":["a",1,true,null,{"b":"c"}]}`:                                    `{"tags":["[field]","[field]","[field]",null,{"b":"[field]"}]}`,
		`{"user":{"id":"u1","n":1}}`:                                              `{"user":{"id":"[email]","n":"[email]"}}`,
		`{"a":"{\"ip\":\"1.2.3.4\",\"b\":1}"}`:                                    `{"a":"{\"b\":1}"}`,
	} {
		if got := masked(t, w, raw); got != want {
			t.Errorf("%s\nis  %s\nnot %s", raw, got, want)
		}
	}
	got := masked(t, w, `{"context":{"session":"s-1"}}`)
	if !strings.HasPrefix(got, `{"context":{"session":"pii-field-k2-`) {
		t.Errorf("hashed: %s", got)
	}
}

// What holds for each member holds for one that has rules within it, too; its own
// rule goes before.
func TestPrivacy_EachMemberIsOneWithRulesOfItsOwn(t *testing.T) {
	w := walkerOf(t, "fields: { /p/*: field, /p/a/b: email, /p/k: keep, /q/*/x: drop, /q/a/y: email, /q/a/x: ip }")
	for raw, want := range map[string]string{
		`{"p":{"a":"Ann","k":"n","z":"x"}}`:                     `{"p":{"a":"[field]","k":"n","z":"[field]"}}`,
		`{"p":{"a":{"b":"Ann","c":"Lee"}}}`:                     `{"p":{"a":{"b":"[email]","c":"[field]"}}}`,
		`{"q":{"a":{"x":1,"y":"Ann","z":2},"b":{"x":1,"z":2}}}`: `{"q":{"a":{"x":"[ip]","y":"[email]","z":2},"b":{"z":2}}}`,
	} {
		if got := masked(t, w, raw); got != want {
			t.Errorf("%s\nis  %s\nnot %s", raw, got, want)
		}
	}
}

// A value has one token in all its writings, under one key and in one fleet; the
// token says the key, and is one again for the next pass.
func TestPrivacy_TokensAreOfValueKeyAndFleet(t *testing.T) {
	w := walkerOf(t, "{ action: hash, keys: "+testKeys+" }")
	token := func(w *walker, raw string) string {
		t.Helper()
		var doc struct{ A string }
		if err := json.Unmarshal([]byte(masked(t, w, raw)), &doc); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(doc.A, "pii-") || !stands([]byte(doc.A)) {
			t.Fatalf("%s became %s", raw, doc.A)
		}
		return doc.A
	}
	for _, same := range [][]string{
		{`{"a":"ann@example.com"}`, `{"a":"ANN@Example.com"}`, `{"a":"ann\u0040example.com"}`, `{"a":"ann＠example.com"}`},
		{`{"a":"+4915112345678"}`, `{"a":"+49 151 12345678"}`, `{"a":"+49 (151) 123-456-78"}`, `{"a":"0049 151 12345678"}`},
		{`{"a":"4111111111111111"}`, `{"a":"4111 1111 1111 1111"}`}, {`{"a":"2001:db8::1"}`, `{"a":"2001:0db8:0:0:0:0:0:1"}`},
		{`{"a":"de89 3704 0044 0532 0130 00"}`, `{"a":"DE89370400440532013000"}`},
	} {
		first := token(w, same[0])
		for _, other := range same[1:] {
			if got := token(w, other); got != first {
				t.Errorf("%s and %s: %s and %s", same[0], other, first, got)
			}
		}
		if !strings.Contains(first, "-k2-") {
			t.Errorf("%s does not name the newest key", first)
		}
	}
	const mail = `{"a":"ann@example.com"}`
	elsewhere := walkerOf(t, "{ action: hash, keys: "+testKeys+" }")
	elsewhere.keys = elsewhere.p.keys.of("plant-2")
	rotated := walkerOf(t, "{ action: hash, keys: k3:another-secret-of-it "+testKeys+" }")
	if a, b, c := token(w, mail), token(elsewhere, mail), token(rotated, mail); a == b || a == c || !strings.Contains(c,
		"-k3-") {
		t.Errorf("fleets and keys share tokens: %s %s %s", a, b, c)
	}
}

// A device that is named by personal data stays one device, and stays a device.
func TestPrivacy_ADeviceIsHashedAsAWhole(t *testing.T) {
	w := walkerOf(t, "{ keys: "+testKeys+" }")
	first := masked(t, w, `{"device_id":"pump-203.0.113.7"}`)
	var doc struct {
		Device string `json:"device_id"`
	}
	if err := json.Unmarshal([]byte(first), &doc); err != nil || !event.ValidDevice(doc.Device) ||
		!strings.HasPrefix(doc.Device, "pii-ip-k2-") {
		t.Fatalf("%s (%v)", first, err)
	}
	if masked(t, w, `{"device_id":"pump-203.0.113.8"}`) == first {
		t.Fatal("two devices became one")
	}
	if got := masked(t, walkerOf(t, "{}"), `{"device_id":"pump-203.0.113.7"}`); got != `{"device_id":"[ip]"}` {
		t.Fatalf("without a key: %s", got)
	}
}

func TestPrivacy_UTF16IsLookedAtToo(t *testing.T) {
	w := walkerOf(t, "{}")
	wide := func(s string) (b []byte) {
		for _, c := range []byte(s) {
			b = append(b, c, 0)
		}
		return b
	}
	if got := w.bytes(wide(`{"a":"ann@example.com"}`)); string(got) != `{"a":"[email]"}` {
		t.Fatalf("%q", got)
	}
	if clean := wide(`{"a":"b"}`); !bytes.Equal(w.bytes(clean), clean) {
		t.Fatal("what is clean has changed")
	}
}

// Hostile events cost time and memory in proportion, and come out as they went in.
func TestPrivacy_HostileEventsAreBounded(t *testing.T) {
	w := walkerOf(t, "{}")
	for name, raw := range map[string]string{
		"ten megabytes of digits":    `{"a":"` + strings.Repeat("4", 10<<20) + `"}`,
		"a number of ten megabytes":  `{"a":` + strings.Repeat("4", 10<<20) + `}`,
		"a thousand levels":          strings.Repeat(`{"a":`, 1000) + `1` + strings.Repeat(`}`, 1000),
		"a million brackets":         strings.Repeat(`[`, 1<<20),
		"a million quotes":           strings.Repeat(`"`, 1<<20),
		"equal signs":                `{"a":"` + strings.Repeat("a=", 1<<20) + `"}`,
		"documents in documents":     `{"a":"` + strings.Repeat(`{\"a\":`, 100_000) + `"}`,
		"a hundred thousand members": `{` + strings.Repeat(`"a":1,`, 100_000) + `"b":2}`,
	} {
		began := time.Now()
		if got := string(w.bytes([]byte(raw))); got != raw {
			t.Errorf("%s: changed to %.100q", name, got)
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("%s: took %v", name, took)
		}
	}
	deep := strings.Repeat(`{"a":`, 1000) + `"ann@example.com"` + strings.Repeat(`}`, 1000)
	if got := string(w.bytes([]byte(deep))); strings.Contains(got, "ann@") {
		t.Error("an address a thousand levels deep stays")
	}
	deeper := strings.Repeat(`[`, 3000) + `{"password":"hunter2","b":"ann@example.com"}`
	if got := string(w.bytes([]byte(deeper))); strings.Contains(got, "ann@") || strings.Contains(got, "hunter2") {
		t.Error("beyond the bound of levels something stays")
	}
	chain := `{"a":"` + strings.Repeat("a@b.co", 1000) + `"}`
	if got := masked(t, w, chain); strings.Contains(got, "a@b") {
		t.Errorf("a chain of addresses leaves %.100s", got)
	}
}

func TestPrivacy_ConfigsThatHideNothingAreRefused(t *testing.T) {
	for yaml, want := range map[string]string{
		"action: hash": "needs a key", "{ actions: { email: tokenise } }": "tokenise of email needs a key",
		"{ fields: { /a/b: hash } }": "/a/b needs a key", "{ fields: { a: drop } }": "no JSON pointer",
		"{ fields: { /a: burn } }": "neither an action", "{ actions: { emails: mask } }": "no kind",
		"{ actions: { email: burn } }": "no action", "keys: k1:short": "16 characters",
		"keys: K1:0123456789abcdef":                     "ID:SECRET",
		"keys: k1:0123456789abcdef k1:fedcba9876543210": "twice", "phone_regions: [ XX ]": "XX",
		"{ fields: { /device_id: drop } }": "hash it", "keys: file:///nowhere/at/all": "reading a secret",
	} {
		if _, err := newProcessor(parsed(t, yaml), service.MockResources()); err == nil || !strings.Contains(err.Error(),
			want) {
			t.Errorf("%s: %v, want %q", yaml, err, want)
		} else if strings.Contains(err.Error(), "0123456789abcdef") {
			t.Errorf("%s: the error shows a secret: %v", yaml, err)
		}
	}
}
