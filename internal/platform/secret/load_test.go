package secret

import (
	"maps"
	"strings"
	"testing"

	"weir/tests/integration/vaulted"
)

func TestParseEnv_ReadsWhatAFileHas(t *testing.T) {
	got, err := ParseEnv("\ufeff# servers\r\nA=1\r\n\n export B = two words \nC='it''s \\n'\n" +
		"D=\"a\\n\\\"b\\\\ \\x \\$Y ${X}\"\nE=\nF=a#b 'c'\nG==x")
	want := map[string]string{"A": "1", "B": "two words", "C": `it''s \n`, "D": "a\n\"b\\ \\x $Y ${X}", "E": "", "F": "a#b 'c'",
		"G": "=x"}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	for text, says := range map[string]string{
		"s3cr3t":           "line 1: expected NAME=VALUE",
		"A=1\n2B=s3cr3t":   "line 2: expected NAME=VALUE",
		"A B=s3cr3t":       "line 1: expected NAME=VALUE",
		"A=s3cr3t\nA=b":    "line 2: A stands twice",
		`A="s3cr3t`:        "line 1: A: a quote opens",
		`A="s3cr3t\"`:      "line 1: A: a quote opens",
		`A='`:              "line 1: A: a quote opens",
		`A='s3cr3t' # why`: "line 1: A: a quote opens",
	} {
		if _, err := ParseEnv(text); err == nil || !strings.Contains(err.Error(), says) ||
			strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// What was loaded is read back, from either version of the key-value store, and is
// told in no error.
func TestOpenBao_IsLoaded(t *testing.T) {
	b := startBao(t)
	v := at(t, map[string]string{envAddress: b.address, envToken: rootToken})
	b.do("POST", "sys/mounts/kv", map[string]any{"type": "kv", "options": map[string]any{"version": "1"}})
	for _, password := range vaulted.Hostile() {
		for _, path := range []string{"secret/data/weir/local", "kv/weir/local"} {
			if err := v.load(t.Context(), path, map[string]string{"A": password, "B": ""}); err != nil {
				t.Fatal(err)
			}
			if got, err := read(t, v, "vault://"+path+"#A"); err != nil || got != password {
				t.Errorf("%s: %q, %v", path, got, err)
			}
		}
	}
	for path, says := range map[string]string{"nothing/data/x": "writing nothing/data/x: the Vault",
		"../x": "expected the path"} {
		if err := v.load(t.Context(), path, map[string]string{"A": "s3cr3t"}); err == nil ||
			!strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: %v", path, err)
		}
	}
}
