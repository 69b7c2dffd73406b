package cli

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"weir/internal/platform/envyaml"
)

func TestOps_AreServedUnlessAConfigSaysOtherwise(t *testing.T) {
	values := func(name string) (string, bool) {
		value, set := map[string]string{"SERVED": "false"}[name]
		return value, set
	}
	for _, c := range []struct {
		name, config string
		flags        []string
		want         bool
	}{
		{"nothing said", "logger: {level: INFO}", nil, true},
		{"an address", "http: {address: 0.0.0.0:4195}", nil, true},
		{"off", "http: {enabled: false}", nil, false},
		{"off by a variable", "http: {enabled: ${SERVED}}", nil, false},
		{"on by a variable's default", "http:\n  enabled: ${OTHER:true}", nil, true},
		{"off by a flag", "http: {enabled: true}", []string{"--set", "http.enabled=false"}, false},
		{"on by a flag", "http: {enabled: false}", []string{"--set", "http.enabled=true"}, true},
		{"other flags", "{}", []string{"--set", "http.address=:1", "--log.level", "debug"}, true},
	} {
		config, err := envyaml.Parse([]byte(c.config))
		if err != nil {
			t.Fatal(err)
		}
		if got := wantsOps(config, values, c.flags); got != c.want {
			t.Errorf("%s: served %t, expected %t", c.name, got, c.want)
		}
	}
	if !wantsOps(nil, values, nil) {
		t.Error("without a main config nothing is served")
	}
}

func TestOps_AreReadyFromTheLastStreamToTheFirstSignal(t *testing.T) {
	o := &ops{}
	h := o.handler("/weir", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/none" {
			http.NotFound(w, r)
		}
	}))
	ask := func(path string) (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if len(w.Header().Get("X-Request-Id")) != 32 {
			t.Errorf("%s is answered without an id", path)
		}
		return w.Code, w.Body.String()
	}
	expect := func(when string, ready int, says string) {
		for _, path := range []string{"/ready", "/weir/ready"} {
			if code, said := ask(path); code != ready || !strings.Contains(said, says) {
				t.Errorf("%s %s: %d %s", when, path, code, said)
			}
		}
		if code, _ := ask("/ping"); code != http.StatusOK {
			t.Errorf("%s /ping: %d", when, code)
		}
		if code, _ := ask("/none"); code != http.StatusNotFound {
			t.Errorf("%s /none: %d", when, code)
		}
	}
	expect("before", http.StatusServiceUnavailable, "being made")
	o.made.Store(true)
	expect("meanwhile", http.StatusOK, "")
	o.leaving.Store(true)
	expect("after", http.StatusServiceUnavailable, "told to end")
}
