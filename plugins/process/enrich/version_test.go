package enrich

import (
	"maps"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/internal/event"
	"weir/tests/integration/mmdb"
)

// versionsOf are what the look-ups of a config say of themselves beside an event.
func versionsOf(t *testing.T, lookups, raw string) string {
	t.Helper()
	return event.Meta(through(t, processorOf(t, "deadline: 1m\nlookups:\n"+lookups), raw)[0], event.HeaderEnriched)
}

// An event names the look-ups that wrote into it, in their order, each by its version;
// one that has nothing, or fails, wrote nothing.
func TestEnrich_AnEventNamesWhatWroteIntoIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "geo.mmdb")
	mmdb.Write(t, path, map[string]any{"203.0.113.0/24": map[string]any{"country_code": "DE"}})
	lookups := `
  - { name: region, key: '${! this.ip }', geo: '` + path + `', result_map: 'root.country = this.country' }
  - name: made
    key: ${! this.user }
    result_map: root.made = this
    processors: [ { mapping: 'root = if content() == "gone" { null } else if content() == "bad" { throw("no") } else { {"of": content().string()} }' } ]
`
	got := versionsOf(t, lookups, `{"ip":"203.0.113.7","user":"u-1"}`)
	if !regexp.MustCompile(`^region@[0-9a-f]{8}\.[0-9]{8}T[0-9]{6}Z,made@[0-9a-f]{8}$`).MatchString(got) {
		t.Fatalf("%q wrote into it", got)
	}
	_, built, _ := strings.Cut(strings.Split(got, ",")[0], ".")
	if at, err := time.Parse(buildFormat, built); err != nil || at.Unix() != 1_790_000_000 {
		t.Errorf("the database was built at %s (%v)", built, err)
	}
	made := strings.Split(got, ",")[1]
	for raw, want := range map[string]string{`{"user":"u-2","ip":"192.0.2.1"}`: made, `{"user":"gone"}`: "",
		`{"user":"bad"}`: "", `{}`: ""} {
		if got := versionsOf(t, lookups, raw); got != want {
			t.Errorf("%q wrote into %s, expected %q", got, raw, want)
		}
	}
}

// A version changes with what decides the answers, and with nothing else.
func TestEnrich_AVersionIsOfTheConfigThatDecides(t *testing.T) {
	of := func(key, processor, result, rest string) string {
		return versionsOf(t, "  - { name: a, key: '${! this."+key+" }', processors: [ { mapping: '"+processor+
			"' } ], result_map: '"+result+"'"+rest+" }\n", `{"u":"x","v":"y"}`)
	}
	const processor, result = `root.of = content().string()`, `root.a = this`
	first := of("u", processor, result, "")
	for what, same := range map[string]string{"again": of("u", processor, result, ""),
		"another timeout": of("u", processor, result, ", timeout: 9s, cache_ttl: 0s, max_in_flight: 1")} {
		if same != first {
			t.Errorf("%s: %s and %s", what, first, same)
		}
	}
	seen := map[string]string{first: "the first"}
	for what, other := range map[string]string{"another key": of("v", processor, result, ""),
		"another processor": of("u", `root.is = content().string()`, result, ""),
		"another result":    of("u", processor, `root.b = this`, "")} {
		if seen[other] != "" {
			t.Errorf("%s has the version of %s: %s", what, seen[other], other)
		}
		seen[other] = what
	}
	stores := func(url, query string) string {
		n := &named{sql: url, query: query}
		version, err := n.version(result, nil)
		if err != nil {
			t.Fatal(err)
		}
		return version
	}
	if a, b := stores("postgres://weir:one@db/crm", "q"), stores("postgres://w:two@db/crm?sslmode=disable", "q"); a != b {
		t.Errorf("a password changes the version: %s, %s", a, b)
	}
	if a, b := stores("postgres://db/crm", "q"), stores("postgres://db/other", "q"); a == b {
		t.Error("another database has the same version")
	}
}

// Of processors, too, a version has no secret and no limit of time; a mapping may have
// objects whose keys are no text.
func TestEnrich_AVersionOfProcessorsHasNoSecrets(t *testing.T) {
	plain := map[string]string{"url": "http://one:two@profiles:8000/v1?api_key=three", "auth": "Bearer four", "pw": "five",
		"header": "six", "timeout": "1s", "oauth": "seven", "dsn": "weir:eight@tcp(db:3306)/crm", "map": "root = this",
		"lang": "de"}
	of := func(change ...string) string {
		values := maps.Clone(plain)
		for i := 0; i < len(change); i += 2 {
			values[change[i]] = change[i+1]
		}
		v := func(key string) string { return strconv.Quote(values[key]) }
		parsed, err := spec().ParseYAML(`lookups:
  - name: a
    key: ${! this.u }
    result_map: root.a = this
    processors:
      - branch:
          processors:
            - http:
                url: `+v("url")+`
                headers: { Authorization: `+v("auth")+`, X-API-Key: `+v("header")+`, Accept-Language: `+v("lang")+` }
                basic_auth: { enabled: true, username: weir, password: `+v("pw")+` }
                oauth2: { enabled: true, client_key: `+v("oauth")+` }
                timeout: `+v("timeout")+`
                retries: `+strconv.Itoa(len(values["timeout"]))+`
      - sql_select: { driver: mysql, dsn: `+v("dsn")+`, table: t, columns: [ a ] }
      - switch: [ { 1: x, check: 'true' } ]
      - mapping: `+v("map")+`
`, nil)
		if err != nil {
			t.Fatal(err)
		}
		lookups, err := parsed.FieldObjectList(fieldLookups)
		if err != nil {
			t.Fatal(err)
		}
		children, err := lookups[0].FieldAnyList(fieldProcessors)
		if err != nil {
			t.Fatal(err)
		}
		version, err := new(named).version("", children)
		if err != nil {
			t.Fatal(err)
		}
		return version
	}
	first := of()
	for _, same := range [][]string{{"url", "http://one:TWO@profiles:8000/v1?api_key=three"},
		{"url", "http://one:two@profiles:8000/v1?api_key=3"}, {"auth", "Bearer 4"}, {"pw", "5"}, {"header", "6"},
		{"timeout", "10s"}, {"oauth", "7"}, {"dsn", "weir:8@tcp(db:3306)/crm"}} {
		if got := of(same...); got != first {
			t.Errorf("%v changes the version", same)
		}
	}
	for _, other := range [][]string{{"url", "http://one:two@profiles:8000/v2?api_key=three"},
		{"url", "http://one:two@others:8000/v1?api_key=three"}, {"map", "root = this.a"}, {"lang", "en"}} {
		if got := of(other...); got == first {
			t.Errorf("%v changes no version", other)
		}
	}
}
