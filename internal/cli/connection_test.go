package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// How to get into the log stands in one place, internal/platform/kafka: a config
// names the brokers, and a template asks kafka_connection().
func TestConfigs_NoneRepeatsHowToGetIntoTheLog(t *testing.T) {
	for text, want := range map[string]string{
		`password: "${WEIR_KAFKA_PASSWORD:}"`:                     "${WEIR_KAFKA_PASSWORD:}",
		`enabled: ${WEIR_KAFKA_TLS:false}`:                        "${WEIR_KAFKA_TLS:false}",
		`let sasl = env(name: "WEIR_KAFKA_SASL", no_cache: true)`: `env(name: "WEIR_KAFKA_SASL"`,
		`[ env("WEIR_BROKERS") ]`:                                 `env("WEIR_BROKERS"`,
		`seed_brokers: ["${WEIR_BROKERS}"]`:                       "",
		`# WEIR_KAFKA_PASSWORD is asked for`:                      "",
	} {
		if got := loginIn(text); got != want {
			t.Errorf("%s repeats %q, want %q", text, got, want)
		}
	}
	looked := 0
	for _, pattern := range []string{"configs/*.yaml", "configs/*/*.yaml"} {
		paths, err := filepath.Glob("../../" + pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			looked++
			if found := loginIn(string(raw)); found != "" {
				t.Errorf("%s repeats how to get into the log, %s: leave out tls and sasl, or call kafka_connection()", path, found)
			}
		}
	}
	if looked < 20 {
		t.Errorf("only %d configs were found", looked)
	}
}

// loginIn is where a text reads one of the login's variables, or "".
func loginIn(text string) string {
	return regexp.MustCompile(`\$\{WEIR_KAFKA_[^}]*\}|\benv\([^)"]*"WEIR_(KAFKA_[A-Z_]*|BROKERS)"`).FindString(text)
}
