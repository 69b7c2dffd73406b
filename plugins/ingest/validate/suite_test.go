package validate

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v5"

	"weir/internal/platform/rawjson"
	"weir/internal/platform/schemadoc"
	"weir/tests/integration/require"
)

// suiteDir finds the official JSON-Schema-Test-Suite, which the module
// cuelang.org/go, in our build list, carries in its test data.
func suiteDir(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "cuelang.org/go").Output()
	dir := filepath.Join(strings.TrimSpace(string(out)), "encoding", "jsonschema", "testdata", "external", "tests")
	if err == nil {
		_, err = os.Stat(filepath.Join(dir, "draft2020-12"))
	}
	if err != nil {
		require.Missing(t, "the JSON-Schema-Test-Suite is not in the module cache (go mod download cuelang.org/go): %v", err)
	}
	return dir
}

type suiteGroup struct {
	Description string          `json:"description"`
	Schema      json.RawMessage `json:"schema"`
	Tests       []struct {
		Description string          `json:"description"`
		Data        json.RawMessage `json:"data"`
		Valid       bool            `json:"valid"`
	} `json:"tests"`
}

// libraryErrs are the official cases that jsonschema v5 itself gets wrong, or
// that need documents from elsewhere. They are known limits, by file and group.
func libraryErrs() map[string][]string {
	return map[string][]string{
		"format/idn-email.json":    {"validation of an internationalized e-mail addresses"}, // it does not know the format
		"format/idn-hostname.json": {"validation of internationalized host names"},          // nor this one
		"dynamicRef.json":          {"$dynamicRef skips over intermediate resources - direct reference"},
	}
}

// TestValidate_OfficialSuite holds the library to the official cases, and every plan to
// the library: a plan accepts nothing that the library refuses.
func TestValidate_OfficialSuite(t *testing.T) {
	for _, draft := range []struct {
		name string
		of   *jsonschema.Draft
	}{{"draft7", jsonschema.Draft7}, {"draft2020-12", jsonschema.Draft2020}} {
		t.Run(draft.name, func(t *testing.T) {
			dir := filepath.Join(suiteDir(t), draft.name)
			files, err := filepath.Glob(filepath.Join(dir, "*.json"))
			if err != nil || len(files) < 30 {
				t.Fatalf("found %d files in %s (%v)", len(files), dir, err)
			}
			formats, err := filepath.Glob(filepath.Join(dir, "optional", "format", "*.json"))
			if err != nil || len(formats) < 10 {
				t.Fatalf("found %d formats in %s (%v)", len(formats), dir, err)
			}
			s := suite{draft: draft.of}
			for _, f := range files {
				s.file(t, f, filepath.Base(f), false)
			}
			s.file(t, filepath.Join(dir, "optional", "ecmascript-regex.json"), "ecmascript-regex.json", true)
			for _, f := range formats {
				s.file(t, f, "format/"+filepath.Base(f), true)
			}
			t.Logf("%d cases: a plan decided %d of the %d valid ones that have a plan; %d known limits of the library", s.cases,
				s.decided, s.planned, s.known)
			if s.cases < 900 || s.decided < 200 {
				t.Errorf("only %d cases and %d decided by plans", s.cases, s.decided)
			}
		})
	}
}

type suite struct {
	draft                          *jsonschema.Draft
	cases, planned, decided, known int
}

func (s *suite) file(t *testing.T, path, name string, assertFormat bool) {
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var groups []suiteGroup
	if err := json.Unmarshal(raw, &groups); err != nil {
		t.Fatal(err)
	}
	for _, g := range groups {
		at := name + ": " + g.Description
		lib, err := schemadoc.CompileDraft(g.Schema, s.draft, assertFormat)
		if err != nil {
			if slices.Contains(libraryErrs()[name], g.Description) || remote(g.Schema) {
				s.known++
				continue
			}
			t.Errorf("%s: %v", at, err)
			continue
		}
		plan, planned := planAny(lib.Schema, assertFormat)
		for _, c := range g.Tests {
			s.cases++
			doc, err := schemadoc.Decode(c.Data)
			if err != nil {
				t.Errorf("%s: %v", at, err)
				continue
			}
			valid := lib.Validate(doc) == nil
			if valid != c.Valid {
				if slices.Contains(libraryErrs()[name], g.Description) {
					s.known++
				} else {
					t.Errorf("%s: %s: the library says %v", at, c.Description, valid)
				}
			}
			if !planned || rawjson.Document(c.Data) != nil {
				continue
			}
			var w walk
			accepts := w.document(c.Data, plan)
			if accepts && !valid {
				t.Errorf("%s: %s: the plan accepts what the library refuses", at, c.Description)
			}
			if valid {
				s.planned++
			}
			if accepts {
				s.decided++
			}
		}
	}
}

// remote tells whether a schema needs a document that is not in it.
func remote(raw []byte) bool { return strings.Contains(string(raw), "http://localhost:1234") }
