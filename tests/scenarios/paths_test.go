package scenarios

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A data directory may have any name. Two directories whose names contain characters with a meaning in URLs, patterns
// and escapes share no files.
func TestDataDirectory_AnyNameKeepsEverythingInside(t *testing.T) {
	t.Parallel()
	a, b := newSystem(t), newSystem(t)
	a.data = "line#1" // relative to the working directory
	b.data = filepath.Join(a.dir, "line#2 [a]%20b")
	for _, s := range []*system{a, b} {
		s.start()
		s.ready()
		s.createKey()
	}
	for _, s := range []*system{a, b} {
		_, wait := s.fleet("--devices", "3", "--rate", "100", "--events", "60")
		wait()
	}
	for _, s := range []*system{a, b} {
		s.reconcile()
		s.stop()
		for _, name := range []string{"broker", "claims", "control.db", "raw", "rollups.db", "schemas"} {
			dir := s.data
			if !filepath.IsAbs(dir) {
				dir = filepath.Join(s.dir, dir)
			}
			if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
				t.Error(err)
			}
		}
	}
	entries, err := os.ReadDir(a.dir)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{"journal-1.jsonl", "line#1", filepath.Base(b.data), "up.log"}; !slices.Equal(names, want) {
		t.Errorf("%q lie beside the data directories, not %q", names, want)
	}
}
