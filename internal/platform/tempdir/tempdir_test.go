package tempdir

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func made(t *testing.T, name string, others ...string) (dir string, remove func()) {
	t.Helper()
	dir, remove, err := Make(name, others...)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "event"), []byte("of a device"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, remove
}

// TestMake_WhatAKilledProcessLeftGoesWithTheNext: a process that is killed leaves
// its folder, and the next that makes one deletes it; those of the living stay,
// and so do folders of others.
func TestMake_WhatAKilledProcessLeftGoesWithTheNext(t *testing.T) {
	if os.Getenv("WEIR_TEST_TEMPDIR") != "" { // the process that is killed
		dir, _ := made(t, "merge")
		_, _ = os.Stdout.WriteString("made " + dir + "\n")
		if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		select {}
	}
	parent := t.TempDir()
	t.Setenv("TMPDIR", parent)
	living, remove := made(t, "configs")
	foreign := filepath.Join(parent, "weir-old-1")
	if err := os.Mkdir(foreign, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "WEIR_TEST_TEMPDIR=1")
	out, err := cmd.Output()
	left := strings.TrimSpace(strings.TrimPrefix(string(out), "made "))
	if err == nil || left == "" {
		t.Fatalf("it was not killed: %s", out)
	}
	if _, err := os.Stat(filepath.Join(left, "event")); err != nil {
		t.Fatalf("a kill leaves nothing: this proves nothing: %v", err)
	}
	next, removeNext := made(t, "configs")
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("what was left is there still: %v", err)
	}
	for _, dir := range []string{living, next} {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", dir, info, err)
		}
	}
	remove()
	removeNext()
	entries, err := os.ReadDir(parent)
	if err != nil || len(entries) != 1 || entries[0].Name() != "weir-old-1" {
		t.Errorf("there are %v: %v", entries, err)
	}
}

func TestMake_TakesAnotherPlaceWhereTheFirstIsNone(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "none"))
	if _, _, err := Make("merge"); err == nil || !strings.Contains(err.Error(), "TMPDIR") {
		t.Errorf("nowhere: %v", err)
	}
	other := t.TempDir()
	dir, remove := made(t, "merge", other)
	defer remove()
	if filepath.Dir(dir) != other {
		t.Errorf("made %s", dir)
	}
}
