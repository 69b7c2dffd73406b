package cli

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"gopkg.in/yaml.v3"
)

// Every stream that weir ships runs in exactly one role: none is left out of a
// cluster, and none runs twice for no reason.
func TestRoles_RunEachStreamOnce(t *testing.T) {
	files, err := filepath.Glob("../../configs/streams/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("finding streams: %v", err)
	}
	in := map[string]int{}
	for _, r := range roles() {
		for _, stream := range r.streams {
			in[stream]++
		}
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		if in[name] != 1 {
			t.Errorf("stream %s is in %d roles, expected 1", name, in[name])
		}
		delete(in, name)
	}
	for name := range in {
		t.Errorf("a role runs stream %s, which there is not", name)
	}
}

// docker-compose.yml runs each role, and every weir of it is asked for its health.
func TestRoles_AreAllInTheComposeFile(t *testing.T) {
	raw, err := os.ReadFile("../../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Services map[string]struct {
			Image    string
			Command  any
			Profiles []string
			ReadOnly bool              `yaml:"read_only"`
			Health   any               `yaml:"healthcheck"`
			Env      map[string]string `yaml:"environment"`
		}
	}
	if err := yaml.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	known, err := (&distribution{assets: os.DirFS("../..")}).knownVariables(nil)
	if err != nil {
		t.Fatal(err)
	}
	runs := map[string]int{}
	for name, s := range file.Services {
		for variable := range s.Env {
			if strings.HasPrefix(variable, "WEIR_") && !slices.Contains(known, variable) {
				t.Errorf("service %s sets %s, which nothing reads", name, variable)
			}
		}
		if _, tag, tagged := strings.Cut(s.Image, ":"); !tagged || tag == "latest" {
			t.Errorf("service %s has image %s, whose version may change by itself", name, s.Image)
		}
		if s.Health == nil {
			t.Errorf("service %s has no health check", name)
		}
		if strings.HasPrefix(s.Image, "weir:") && !s.ReadOnly {
			t.Errorf("service %s can write to its image", name)
		}
		if (name == "weir") != (len(s.Profiles) == 0) {
			t.Errorf("service %s is in profiles %v: weir alone is all that runs without one", name, s.Profiles)
		}
		if command, is := s.Command.([]any); is && len(command) > 1 && command[0] == "role" {
			for _, r := range command[1:] {
				runs[r.(string)]++
			}
		}
	}
	for _, r := range roles() {
		if runs[r.name] == 0 {
			t.Errorf("no service runs role %s", r.name)
		}
	}
}

func TestRoles_AreAllInTheChart(t *testing.T) {
	raw, err := os.ReadFile("../../deploy/chart/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var values struct{ Roles map[string]any }
	if err := yaml.Unmarshal(raw, &values); err != nil {
		t.Fatal(err)
	}
	for _, r := range roles() {
		if _, ok := values.Roles[r.name]; !ok {
			t.Errorf("the chart has no role %s", r.name)
		}
		delete(values.Roles, r.name)
	}
	for name := range values.Roles {
		t.Errorf("the chart has a role %s, which there is not", name)
	}
}

// Each variable that the chart sets or names is one that something reads.
func TestRoles_ReadWhatTheChartSets(t *testing.T) {
	known, err := (&distribution{assets: os.DirFS("../..")}).knownVariables(nil)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	err = filepath.WalkDir("../../deploy/chart", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		for _, variable := range variableName.FindAllString(string(raw), -1) {
			if found++; !slices.Contains(known, variable) {
				t.Errorf("%s names %s, which nothing reads", path, variable)
			}
		}
		return err
	})
	if err != nil || found < 20 {
		t.Errorf("found %d variables: %v", found, err)
	}
}

func TestRoles_AreStreamsByNameToo(t *testing.T) {
	home := t.TempDir()
	for _, name := range []string{"raw", "enrich", "dead_letter"} {
		placed(t, filepath.Join(home, "configs", "streams", name+".yaml"), "input: {}")
	}
	for _, c := range []struct {
		names  []string
		files  []string
		refuse string
	}{
		{[]string{"raw"}, []string{"raw"}, ""},
		{[]string{"dead-letter", "enrich"}, []string{"dead_letter", "enrich"}, ""},
		{[]string{"dead-letter", "dead_letter"}, nil, "named already"},
		{[]string{"typo"}, nil, `no role "typo"`},
		{[]string{"../streams/raw"}, nil, "no role"},
		{[]string{"ingest"}, nil, `no role "ingest"`}, // its file is not there
	} {
		files, err := streamsOf(c.names, home)
		if c.refuse != "" {
			if err == nil || !strings.Contains(err.Error(), c.refuse) || ExitCode(err) != exitUsage {
				t.Errorf("%v: %v, expected a refusal with %q", c.names, err, c.refuse)
			}
			continue
		}
		var names []string
		for _, file := range files {
			names = append(names, strings.TrimSuffix(filepath.Base(file), ".yaml"))
		}
		if err != nil || !slices.Equal(names, c.files) {
			t.Errorf("%v run %v (%v), expected %v", c.names, names, err, c.files)
		}
	}
}

// A config map of Kubernetes has its earlier versions in folders that begin with
// a dot, and its files are links to them.
func TestRole_TakesMountedFilesInPlaceOfItsOwn(t *testing.T) {
	assets := fstest.MapFS{
		"configs/streams/raw.yaml":   {Data: []byte("built in")},
		"configs/streams/other.yaml": {Data: []byte("built in")},
		"bloblang/upcast.blobl":      {Data: []byte("built in")},
	}
	mounted, home := t.TempDir(), t.TempDir()
	version := filepath.Join(mounted, "configs", "streams", "..2026_11_27")
	placed(t, filepath.Join(version, "raw.yaml"), "mounted")
	if err := os.Symlink(filepath.Join("..2026_11_27", "raw.yaml"), filepath.Join(mounted, "configs", "streams",
		"raw.yaml")); err != nil {
		t.Fatal(err)
	}
	for _, source := range []fs.FS{assets, os.DirFS(mounted)} {
		if err := copyTree(source, home); err != nil {
			t.Fatal(err)
		}
	}
	for path, expected := range map[string]string{"configs/streams/raw.yaml": "mounted",
		"configs/streams/other.yaml": "built in",
		"bloblang/upcast.blobl":      "built in"} {
		got, err := os.ReadFile(filepath.Join(home, path))
		if err != nil || !bytes.Equal(got, []byte(expected)) {
			t.Errorf("%s is %q (%v), expected %q", path, got, err, expected)
		}
	}
	if entries, err := os.ReadDir(filepath.Join(home, "configs", "streams")); err != nil || len(entries) != 2 {
		t.Errorf("%d files in the folder of streams (%v), expected 2", len(entries), err)
	}
}

func TestConfigs_LeaveTheFilesOfOthersAlone(t *testing.T) {
	dir := t.TempDir()
	if err := ours(dir); err != nil {
		t.Errorf("an empty folder is refused: %v", err)
	}
	if err := ours(filepath.Join(dir, "new")); err != nil {
		t.Errorf("a new folder is refused: %v", err)
	}
	placed(t, filepath.Join(dir, "letter.txt"), "mine")
	if err := ours(dir); ExitCode(err) != exitUsage {
		t.Errorf("a folder of others: %v, expected a refusal", err)
	}
}

func placed(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
