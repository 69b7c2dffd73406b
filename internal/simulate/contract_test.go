package simulate

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestSimulate_BrokenContractsAreNamed(t *testing.T) {
	reply := func(status int, media, body string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Type", media)
			w.WriteHeader(status)
			fmt.Fprint(w, body)
			return true
		}
	}
	const js = "application/json"
	for name, c := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request) bool
		want   string
	}{
		"no verdicts":       {reply(202, js, `{"accepted":2,"rejected":0,"events":[]}`), "no verdict for event 0"},
		"one verdict twice": {reply(202, js, `{"accepted":2,"rejected":0,"events":[{"index":0,"status":202},{"index":0,"status":202}]}`), "index 0"},
		"index out of range": {reply(202, js, `{"accepted":2,"rejected":0,"events":[{"index":2,"status":202}]}`),
			"index 2"},
		"wrong sums":              {reply(202, js, `{"accepted":3,"rejected":0,"events":[{"index":0,"status":202},{"index":1,"status":202}]}`), "accepted 3"},
		"202 with a rejection":    {reply(202, js, `{"accepted":1,"rejected":1,"events":[{"index":0,"status":202},{"index":1,"status":400,"code":"invalid_event"}]}`), "1 of 2"},
		"rejection without code":  {reply(207, js, `{"accepted":1,"rejected":1,"events":[{"index":0,"status":202},{"index":1,"status":400}]}`), `code ""`},
		"not JSON":                {reply(202, js, `accepted`), "reading the verdicts"},
		"plain text":              {reply(202, "text/plain", "ok"), "expected verdicts"},
		"error without a problem": {reply(500, "text/plain", "oops"), "problem+json"},
		"429 without a time":      {reply(429, "application/problem+json", `{}`), "Retry-After"},
		"good event rejected":     {reply(400, js, `{"accepted":0,"rejected":2,"events":[{"index":0,"status":400,"code":"invalid_event"},{"index":1,"status":400,"code":"invalid_event"}]}`), "good event rejected"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newFakeGate(t)
			g.before = c.answer
			conf := base(g)
			conf.Events, conf.Batch, conf.Connections, conf.Retry = 2, 2, 1, false
			err := mustRun(t, conf).Err()
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("expected an error with %q, got %v", c.want, err)
			}
		})
	}
}

func TestSimulate_BadConfigSaysWhatToDo(t *testing.T) {
	g := newFakeGate(t)
	for want, change := range map[string]func(*Config){
		"weir keys create":  func(c *Config) { c.Key = "" },
		"http://HOST:PORT":  func(c *Config) { c.URL = "127.0.0.1:8080" },
		"https://HOST:PORT": func(c *Config) { c.URL = "ftp://127.0.0.1" },
		"1 to 100":          func(c *Config) { c.Batch = 101 },
		"1 or more":         func(c *Config) { c.Connections = 0 },
		"nothing to send":   func(c *Config) { c.Devices = 0 },
		"at most 100":       func(c *Config) { c.Shares = Shares{Duplicates: 0.7, Late: 0.7} },
		"0 to 100":          func(c *Config) { c.Shares = Shares{Duplicates: -1} },
	} {
		conf := base(g)
		change(&conf)
		if _, err := Run(t.Context(), conf); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("expected an error with %q, got %v", want, err)
		}
	}
}
