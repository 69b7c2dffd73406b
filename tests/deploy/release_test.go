package deploy

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// released runs deploy/release.sh in a new repository with a one-file program, with one file changed after the commit
// if change is not "". It returns the files of dist/.
func released(t *testing.T, change string) (files map[string][]byte, said string, err error) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"deploy/release.sh": string(read(t, "deploy/release.sh")),
		"main.go":           "package main\n\nvar version = \"dev\"\n\nfunc main() { println(version) }\n",
		"go.mod":            "module weir\n\ngo 1.26\n", ".gitignore": "dist\n",
		"LICENSE": "l\n", "README.md": "r\n", "CHANGELOG.md": "c\n", "sbom.sh": "#!/bin/sh\necho '{}' >\"$5\"\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	run := func(name string, args ...string) (string, error) {
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "TARGETS=linux/amd64 darwin/arm64", "SBOM="+dir+"/sbom.sh", "GOWORK=off",
			"GIT_AUTHOR_DATE=2026-11-20T10:00:00Z", "GIT_COMMITTER_DATE=2026-11-20T10:00:00Z", "GIT_CONFIG_GLOBAL=/dev/null",
			"GIT_CONFIG_COUNT=0")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for _, args := range [][]string{{"init", "-q"}, {"add", "-A"}, {"-c", "user.name=w", "-c", "user.email=w@localhost",
		"commit", "-q", "-m", "a release"}} {
		if out, err := run("git", args...); err != nil {
			t.Fatalf("git %s: %v: %s", args[0], err, out)
		}
	}
	if change != "" {
		if err := os.WriteFile(filepath.Join(dir, change), []byte("changed"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	said, err = run("deploy/release.sh", "1.4.0")
	files = map[string][]byte{}
	found, _ := filepath.Glob(filepath.Join(dir, "dist", "*"))
	for _, path := range found {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(path)] = raw
	}
	return files, said, err
}

// Two releases of the same commit, made in different folders, are identical byte for byte; every file has its
// checksum, and the binary contains its version.
func TestRelease_IsTheSameInEveryFolder(t *testing.T) {
	one, said, err := released(t, "")
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	two, said, err := released(t, "")
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	want := []string{"weir_1.4.0_linux_amd64.tar.gz", "weir_1.4.0_darwin_arm64.tar.gz", "weir_1.4.0_linux_amd64.cdx.json",
		"weir_1.4.0_darwin_arm64.cdx.json", "SHA256SUMS"}
	if len(one) != len(want) {
		t.Errorf("dist/ has %d files, expected %q", len(one), want)
	}
	for _, name := range want {
		if len(one[name]) == 0 || !bytes.Equal(one[name], two[name]) {
			t.Errorf("%s: %d bytes, and %d bytes the second time", name, len(one[name]), len(two[name]))
		}
		if name != "SHA256SUMS" && !strings.Contains(string(one["SHA256SUMS"]), "  "+name+"\n") {
			t.Errorf("SHA256SUMS lacks %s", name)
		}
	}
	unpack := exec.Command("tar", "-xzO", "weir_1.4.0_linux_amd64/weir")
	unpack.Stdin = bytes.NewReader(one[want[0]])
	if binary, err := unpack.Output(); err != nil || !bytes.Contains(binary, []byte("1.4.0")) {
		t.Errorf("the binary does not hold its version: %v", err)
	}
}

// .dockerignore leaves out no file that the binary embeds.
func TestImage_IsBuiltOfWhatTheBinaryEmbeds(t *testing.T) {
	ignored := strings.Split(string(read(t, ".dockerignore")), "\n")
	embedded := regexp.MustCompile(`(?m)^//go:embed (.+)$`).FindAllStringSubmatch(string(read(t, "main.go")), -1)
	if len(embedded) == 0 {
		t.Fatal("main.go embeds nothing")
	}
	for _, m := range embedded {
		for _, path := range strings.Fields(m[1]) {
			folder, _, _ := strings.Cut(path, "/")
			if (slices.Contains(ignored, folder) || slices.Contains(ignored, path)) && !slices.Contains(ignored, "!"+path) {
				t.Errorf("main.go embeds %s, which .dockerignore leaves out", path)
			}
		}
	}
}

func TestRelease_IsOfACommitAlone(t *testing.T) {
	if files, said, err := released(t, "README.md"); err == nil || len(files) > 0 || !strings.Contains(said, "commit") {
		t.Errorf("a changed tree was released: %v %s", err, said)
	}
}
