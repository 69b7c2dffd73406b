package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

// version is a distribution with these files.
func files(pairs ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return m
}

type folder struct {
	t   *testing.T
	dir string
}

func (f folder) start(assets fstest.MapFS) string {
	f.t.Helper()
	notes, err := layOut(assets, f.dir)
	if err != nil {
		f.t.Fatal(err)
	}
	return strings.Join(notes, "\n")
}

func (f folder) put(path, text string) {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, path), []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func (f folder) is(path, want string) {
	f.t.Helper()
	raw, err := os.ReadFile(filepath.Join(f.dir, path))
	if want == "" && os.IsNotExist(err) {
		return
	}
	if string(raw) != want {
		f.t.Errorf("%s is %q (%v), want %q", path, raw, err, want)
	}
}

func TestLayout_ChangedFilesAreKeptAndTheOthersUpgraded(t *testing.T) {
	f := folder{t, filepath.Join(t.TempDir(), "home")}
	one := files("configs/a.yaml", "a1", "configs/b.yaml", "b1", "configs/c.yaml", "c1", "configs/d.yaml", "d1",
		"configs/e.yaml", "e1")
	if notes := f.start(one); notes != "" {
		t.Error(notes)
	}
	f.put("configs/a.yaml", "mine")
	f.put("configs/own.yaml", "own")
	f.put("configs/e.yaml", "e, changed")
	if err := os.Remove(filepath.Join(f.dir, "configs/c.yaml")); err != nil {
		t.Fatal(err)
	}
	notes := f.start(one) // the same version again
	f.is("configs/a.yaml", "mine")
	f.is("configs/a.yaml.new", "")
	f.is("configs/c.yaml", "")
	for _, part := range []string{"configs/a.yaml was changed", "configs/c.yaml was deleted"} {
		if !strings.Contains(notes, part) {
			t.Errorf("does not say %q:\n%s", part, notes)
		}
	}
	two := files("configs/a.yaml", "a2", "configs/b.yaml", "b2", "configs/c.yaml", "c2", "configs/f.yaml", "f2")
	for range 2 { // and whatever was said is said again
		notes = f.start(two)
		f.is("configs/a.yaml", "mine")
		f.is("configs/a.yaml.new", "a2")
		f.is("configs/b.yaml", "b2")
		f.is("configs/c.yaml", "")
		f.is("configs/d.yaml", "") // unchanged, and no part of version two
		f.is("configs/e.yaml", "")
		f.is("configs/e.yaml.old", "e, changed")
		f.is("configs/f.yaml", "f2")
		f.is("configs/own.yaml", "own")
		if !strings.Contains(notes, "a.yaml.new") {
			t.Errorf("names no new version:\n%s", notes)
		}
	}
	f.put("configs/a.yaml", "a2") // taken over
	if notes := f.start(two); strings.Contains(notes, "a.yaml") {
		t.Error(notes)
	}
	f.is("configs/a.yaml.new", "")
	three := files("configs/a.yaml", "a3")
	f.start(three)
	f.is("configs/a.yaml", "a3")
}

func TestLayout_AFolderWithoutAManifestIsSetAside(t *testing.T) {
	f := folder{t, filepath.Join(t.TempDir(), "home")}
	if err := os.MkdirAll(filepath.Join(f.dir, "configs"), 0o700); err != nil {
		t.Fatal(err)
	}
	f.put("configs/a.yaml", "edited or old")
	f.put("configs/gone.yaml", "old stream")
	f.put("configs/b.yaml", "b1")
	notes := f.start(files("configs/a.yaml", "a1", "configs/b.yaml", "b1"))
	f.is("configs/a.yaml", "a1")
	f.is("configs/a.yaml.old", "edited or old")
	f.is("configs/gone.yaml", "")
	f.is("configs/gone.yaml.old", "old stream")
	f.is("configs/b.yaml.old", "")
	if !strings.Contains(notes, "a.yaml.old") || !strings.Contains(notes, "gone.yaml.old") {
		t.Error(notes)
	}
}
