package secret

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSecret_IsReadFromItsFileEachTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	for _, content := range []string{"one\n", "  two"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := Value(t.Context(), "file://"+path); err != nil || got != strings.TrimSpace(content) {
			t.Errorf("%q: got %q, %v", content, got, err)
		}
	}
	if got, err := Value(t.Context(), "p@ss://word"); err != nil || got != "p@ss://word" {
		t.Errorf("a plain setting became %q, %v", got, err)
	}
	if _, err := Value(t.Context(), "file://"+path+".gone"); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestSecret_WhereItIsIsCheckedWithoutAsking(t *testing.T) {
	for setting, ok := range map[string]bool{
		"": true, "s3cret": true, "file:///x": true, "vault://secret/data/a#b": true, "vault://a#b c/d#e": true,
		"vault://": false, "vault://a": false, "vault://a#": false, "vault://#b": false, "vault:///a#b": false,
		"vault://a/../b#c": false, "vault://a//b#c": false, "vault://a/#c": false, "vault://a?b#c": false,
		"vault://a%2f#c": false, "vault://a\nb#c": false, `vault://a\b#c`: false, "vault://a/.#c": false,
	} {
		if err := Check(setting); (err == nil) != ok {
			t.Errorf("%q: %v", setting, err)
		}
	}
}

func TestSecret_APasswordIsTakenOutOfAURL(t *testing.T) {
	const kept = "vault://s/data/p#f"
	for raw, want := range map[string][2]string{
		"postgres://u@h/d?password=" + kept + "&x":                       {"postgres://u@h/d", kept + "&x"},
		"postgres://u@h/d?sslmode=disable&password=" + kept:              {"postgres://u@h/d?sslmode=disable", kept},
		"postgres://u@h/d?password=vault://s/data/p%23f&sslmode=disable": {"postgres://u@h/d?sslmode=disable", kept},
		"redis://h/0?password=file:///run/x&pool_size=3":                 {"redis://h/0?pool_size=3", "file:///run/x"},
		"postgres://u:p@h/d?password=s3cret":                             {"postgres://u:p@h/d?password=s3cret", ""},
		"postgres://u:p@h/d":                                             {"postgres://u:p@h/d", ""},
		"postgres://u:%zz@h":                                             {"postgres://u:%zz@h", ""},
	} {
		without, setting, err := Password(raw)
		if err != nil || without != want[0] || setting != want[1] {
			t.Errorf("%s: %q, %q, %v", raw, without, setting, err)
		}
	}
	for _, raw := range []string{"postgres://u:s3cret@h/d?password=vault://a#b", "redis://h?password=vault://a"} {
		if _, _, err := Password(raw); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", raw, err)
		}
	}
}
