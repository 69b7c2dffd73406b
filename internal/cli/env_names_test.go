package cli

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"weir/internal/platform/envyaml"
)

func TestVariables_TyposAreNamedWithWhatWasMeant(t *testing.T) {
	known := []string{"WEIR_KAFKA_PASSWORD", "WEIR_RAW_URL"}
	var out strings.Builder
	tellUnknown(&out, []string{"WEIR_KAFKA_PASSWROD=x", "WEIR_RAW_URL=y", "WEIR_ELSEWHERE=z", "WEIR_TEST_X=1",
		"WEIR_BINARY=bin/weir", "WEIR_TORTURE_KILLS=4", "HOME=/"}, known)
	want := "warning: WEIR_KAFKA_PASSWROD is set, and nothing reads it; is WEIR_KAFKA_PASSWORD meant?\nwarning: " +
		"WEIR_ELSEWHERE is set, and nothing reads it\n"
	if out.String() != want {
		t.Errorf("%s", out.String())
	}
	err := refuseTypos("x.env", []envyaml.Assignment{{Name: "WEIR_RAW_URI", Line: 3}}, known)
	if err == nil || !strings.Contains(err.Error(), "x.env, line 3") || !strings.Contains(err.Error(), "WEIR_RAW_URL") {
		t.Error(err)
	}
	if err := refuseTypos("x.env", []envyaml.Assignment{{Name: "WEIR_MY_OWN"}, {Name: "WEIR_RAW_URL"}, {Name: "WEIRD"}},
		known); err != nil {
		t.Error(err)
	}
}

// A renamed variable that kept data from being deleted must not lose its effect
// with a warning.
func TestVariables_OldNamesAreRefused(t *testing.T) {
	known := []string{"WEIR_RETENTION_DRY_RUN"}
	err := refuseRenamed([]string{"HOME=/", "WEIR_MAINTAIN_DRY_RUN=true"}, known)
	if err == nil || !strings.Contains(err.Error(), "WEIR_RETENTION_DRY_RUN") || ExitCode(err) != exitUsage {
		t.Error(err)
	}
	if err := refuseRenamed([]string{"WEIR_MAINTAIN_DRY_RUN=true"}, []string{"WEIR_MAINTAIN_DRY_RUN"}); err != nil {
		t.Error("a config of one's own reads it:", err)
	}
	d := &distribution{assets: os.DirFS("../..")}
	all, err := d.knownVariables(nil)
	if err != nil {
		t.Fatal(err)
	}
	for old, now := range renamedVariables() {
		if slices.Contains(all, old) || !slices.Contains(all, now) {
			t.Errorf("%s is not called %s", old, now)
		}
	}
}

// Whatever the program reads is known: a variable that works is never warned of.
func TestVariables_WhatTheProgramReadsIsKnown(t *testing.T) {
	d := &distribution{assets: os.DirFS("../..")}
	known, err := d.knownVariables(nil)
	if err != nil {
		t.Fatal(err)
	}
	looked := 0
	err = filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() && (strings.HasPrefix(entry.Name(), ".") && entry.Name() != ".." ||
			entry.Name() == "tests") {
			if err == nil && entry.Name() != "." && entry.Name() != ".." {
				return filepath.SkipDir
			}
			return err
		}
		if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		raw, err := os.ReadFile(path)
		for _, m := range regexp.MustCompile(`"(WEIR_[A-Z0-9_]+[A-Z0-9])"`).FindAllStringSubmatch(string(raw), -1) {
			if _, was := renamedVariables()[m[1]]; was {
				continue
			}
			looked++
			beginning := func(name string) bool { return strings.HasPrefix(name, m[1]+"_") } // put together elsewhere
			if !ofTests(m[1]) && !slices.Contains(known, m[1]) && !slices.ContainsFunc(known, beginning) {
				t.Errorf("%s reads %s, which is not known", path, m[1])
			}
		}
		return err
	})
	if err != nil || looked < 20 {
		t.Fatal(looked, err)
	}
}
