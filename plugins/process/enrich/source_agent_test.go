package enrich

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"weir/internal/event"
)

// clientOf is what is said of a user agent, nil where nothing is known.
func clientOf(t testing.TB, agent string) *client {
	t.Helper()
	said, err := ofAgents(t.Context(), agent)
	if err != nil {
		t.Fatal(err)
	}
	if said.absent {
		return nil
	}
	var is client
	if err := json.Unmarshal(said.raw, &is); err != nil {
		t.Fatal(err)
	}
	return &is
}

// TestAgents_AreWhatAnotherReaderSays holds programs, systems and their versions to what
// testdata/agents.py has recorded of a reader that shares no rule with this one.
func TestAgents_AreWhatAnotherReaderSays(t *testing.T) {
	raw, err := os.ReadFile("testdata/agents.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []struct {
		Agent, Browser, OS string
		BrowserMajor       string `json:"browser_major"`
		OSMajor            string `json:"os_major"`
		Bot                bool
	}
	if err := json.Unmarshal(raw, &all); err != nil || len(all) < 19 {
		t.Fatal(len(all), err)
	}
	major := func(version string) string { first, _, _ := strings.Cut(version, "."); return first }
	for _, want := range all {
		got := clientOf(t, want.Agent)
		switch {
		case got == nil:
			t.Errorf("%s: nothing is known", want.Agent)
		case !strings.EqualFold(got.Browser, want.Browser) || major(got.BrowserVersion) != want.BrowserMajor:
			t.Errorf("%s: %+v is not %s %s", want.Agent, got, want.Browser, want.BrowserMajor)
		case got.OS != want.OS || want.OS != "ChromeOS" && want.OSMajor != "" && major(got.OSVersion) != want.OSMajor:
			t.Errorf("%s: %+v is not of %s %s", want.Agent, got, want.OS, want.OSMajor) // CrOS says what it runs on first
		case want.Bot != (got.Kind == "bot"):
			t.Errorf("%s: %+v, bot %v", want.Agent, got, want.Bot)
		}
	}
}

func TestAgents_KindsAndModels(t *testing.T) {
	const webkit = "AppleWebKit/537.36 (KHTML, like Gecko)"
	for agent, want := range map[string]client{
		"Mozilla/5.0 (Linux; Android 14; Pixel 8 Pro) " + webkit + " Chrome/124.0.6367.82 Mobile Safari/537.36": {
			"Chrome", "124.0.6367.82", "Android", "14", "Pixel 8 Pro", "mobile"},
		"Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) " + webkit + " Version/16.6 Mobile/15E148 Safari/604.1": {
			"Safari", "16.6", "iOS", "16.6", "iPad", "tablet"},
		"Mozilla/5.0 (X11; Linux x86_64) " + webkit + " Chrome/120.0.0.0 Safari/537.36": {
			Browser: "Chrome", BrowserVersion: "120.0.0.0", OS: "Linux", OSVersion: "x86_64", Kind: "desktop"},
	} {
		if got := clientOf(t, agent); got == nil || *got != want {
			t.Errorf("%s: %+v, expected %+v", agent, got, want)
		}
	}
	for _, none := range []string{" ", "a person's own words, which nobody is to repeat", strings.Repeat("x", 1<<20)} {
		if got := clientOf(t, none); got != nil && (got.OS != "" || got.Kind != "" || len(got.Browser) > agentNameMost) {
			t.Errorf("%.40q is %+v", none, got)
		}
	}
}

// Whatever a client writes becomes an answer of bounded size, or none.
func FuzzAgents(f *testing.F) {
	for _, text := range []string{"Mozilla/5.0 (Linux; Android 14; Pixel 8)", "((;;[", "Android\xff/1 ;)", "FBAN/x:",
		"a/b:c"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		said, err := ofAgents(t.Context(), text)
		if err != nil || len(said.raw) > 4<<10 || !said.absent && !json.Valid(said.raw) {
			t.Fatalf("%q: %d bytes, %v", text, len(said.raw), err)
		}
	})
}

func TestEnrich_TellsTheDeviceOfAUserAgent(t *testing.T) {
	p := processorOf(t, `
lookups:
  - name: device
    key: ${! this.context.user_agent }
    user_agent: true
    result_map: root.context.device = this.kind
`)
	m := through(t, p, `{"context": {"user_agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X)"}}`)[0]
	const want = `{"context": {"user_agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X)","device":"mobile"}}`
	if got := bytesOf(t, m); got != want {
		t.Errorf("%s\nis not %s", got, want)
	}
	if tag := event.Meta(m, event.HeaderEnriched); !strings.HasPrefix(tag, "device@") {
		t.Errorf("its version is %q", tag)
	}
}

// The version of the rules, which lineages tell, is that of the module.
func TestAgents_TheVersionIsTheModules(t *testing.T) {
	raw, err := os.ReadFile("../../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	name, version, _ := strings.Cut(agentRules, " ")
	if !strings.Contains(string(raw), name+"/useragent v"+version+"\n") {
		t.Errorf("go.mod has another version than %s", agentRules)
	}
}
