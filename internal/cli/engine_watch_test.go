package cli

import (
	"os"
	"testing"
)

// Files are looked at often only while one of them changes, or is gone for a moment.
func TestWatch_LooksSeldomWhileNothingChanges(t *testing.T) {
	p := newProcess(t).begin()
	write := func(text string) {
		if err := os.WriteFile(p.file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	looks := func(what string, want bool) {
		t.Helper()
		if p.watch.look() != want {
			t.Errorf("%s: a file is changing: %v, expected %v", what, !want, want)
		}
	}
	looks("as it was started", false)
	write("# other\n" + echoes)
	looks("changed", true)
	looks("wholly written, and handed to the engine", true)
	looks("the engine is at it", true)
	p.says("Updated stream echo config from file.")
	looks("it runs", false)
	write("neither this nor that")
	looks("changed again", true)
	looks("refused", true)
	looks("as it was refused", false)
	if err := os.Remove(p.file); err != nil {
		t.Fatal(err)
	}
	for range 6 {
		looks("gone", true)
	}
	looks("gone for good", false)
}
