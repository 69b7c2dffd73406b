package deploy

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"weir/tests/integration/require"
)

// linted runs actionlint on workflows, without shellcheck, which is not available everywhere.
func linted(t *testing.T, files ...string) error {
	t.Helper()
	cmd := exec.Command(require.Tool(t, "actionlint"), append([]string{"-shellcheck=", "-pyflakes="}, files...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("actionlint: %w: %s", err, out)
	}
	return nil
}

func workflows(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../../.github/workflows/*.yml")
	if err != nil || len(files) < 2 {
		t.Fatalf("found %d workflows: %v", len(files), err)
	}
	return files
}

func TestWorkflows_AreValid(t *testing.T) {
	if err := linted(t, workflows(t)...); err != nil {
		t.Error(err)
	}
	text := string(read(t, ".github/workflows/ci.yml"))
	for from, to := range map[string]string{"runs-on:": "run-on:", "${{ github.ref }}": "${{ github.reff }}",
		"timeout-minutes: 90": "timeout-minutes: long"} {
		wrong := filepath.Join(t.TempDir(), "ci.yml")
		if err := os.WriteFile(wrong, []byte(strings.Replace(text, from, to, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		if linted(t, wrong) == nil {
			t.Errorf("%s is taken", to)
		}
	}
}

// Workflows use actions pinned to a commit, files and make targets that exist, the Go version of the image, and only
// the permissions that they declare.
func TestWorkflows_NameWhatThereIs(t *testing.T) {
	pinned := regexp.MustCompile(`^(actions/[a-z-]+@[0-9a-f]{40}|\./\.github/workflows/[a-z]+\.yml)$`)
	image := regexp.MustCompile(`FROM (golang:\S+) AS build`).FindSubmatch(read(t, "Dockerfile"))
	if image == nil {
		t.Fatal("Dockerfile names no Go")
	}
	for _, file := range workflows(t) {
		var w struct {
			Permissions map[string]string
			Jobs        map[string]struct {
				Uses      string
				Container string
				Timeout   int `yaml:"timeout-minutes"`
				Steps     []struct{ Uses, Run string }
			}
		}
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(raw, &w); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if len(w.Permissions) != 1 || w.Permissions["contents"] != "read" {
			t.Errorf("%s: jobs that say nothing may %v", file, w.Permissions)
		}
		for name, job := range w.Jobs {
			if job.Uses == "" && job.Timeout == 0 {
				t.Errorf("%s: job %s may run for ever", file, name)
			}
			if job.Container != "" && job.Container != string(image[1]) {
				t.Errorf("%s: job %s runs in %s, the image is built in %s", file, name, job.Container, image[1])
			}
			for _, step := range job.Steps {
				if step.Uses != "" && !pinned.MatchString(step.Uses) {
					t.Errorf("%s: job %s uses %s: name a commit", file, name, step.Uses)
				}
				if strings.Contains(step.Run, "${{") {
					t.Errorf("%s: job %s puts an expression into a script: hand it over in env", file, name)
				}
				named := regexp.MustCompile(`(?m)(?:^|[ "(])((?:tests|deploy|\.ci)/[\w./*-]+)`)
				for _, m := range named.FindAllStringSubmatch(step.Run, -1) {
					if found, err := filepath.Glob(filepath.Join("../..", m[1])); err != nil || len(found) == 0 {
						t.Errorf("%s: job %s names %s, which there is not", file, name, m[1])
					}
				}
				for _, m := range regexp.MustCompile(`\bmake ([a-z.]+)`).FindAllStringSubmatch(step.Run, -1) {
					if !strings.Contains(string(read(t, "Makefile")), "\n"+m[1]+":") {
						t.Errorf("%s: job %s makes %s, which there is not", file, name, m[1])
					}
				}
			}
			if job.Uses != "" && !pinned.MatchString(job.Uses) {
				t.Errorf("%s: job %s uses %s", file, name, job.Uses)
			}
		}
	}
}

// The test of upgrades builds an older weir from the git history, so CI must fetch all of it.
func TestWorkflows_TheTestsHaveTheHistory(t *testing.T) {
	var w struct {
		Jobs struct {
			Test struct {
				Steps []struct {
					Uses string
					With struct {
						Depth *int `yaml:"fetch-depth"`
					}
				}
			}
		}
	}
	if err := yaml.Unmarshal(read(t, ".github/workflows/ci.yml"), &w); err != nil {
		t.Fatal(err)
	}
	for _, step := range w.Jobs.Test.Steps {
		if strings.HasPrefix(step.Uses, "actions/checkout@") && step.With.Depth != nil && *step.With.Depth == 0 {
			return
		}
	}
	t.Error("the job test has the newest commit alone")
}
