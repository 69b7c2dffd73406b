package scenarios

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// docs/README.md lists every page, and no page links to a file that does not exist.
func TestDocs_AreIndexedAndTheirLinksLead(t *testing.T) {
	pages, err := filepath.Glob(repo("docs/*.md"))
	if err != nil || len(pages) < 10 {
		t.Fatal(len(pages), err)
	}
	read := func(page string) string {
		raw, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	index := read(repo("docs/README.md"))
	link := regexp.MustCompile(`\]\(([^)#\s]+)[^)]*\)`)
	for _, page := range append(pages, repo("README.md"), repo("CONTRIBUTING.md")) {
		name := filepath.Base(page)
		if filepath.Dir(page) == repo("docs") && name != "README.md" && !strings.Contains(index, "]("+name+")") {
			t.Errorf("docs/README.md does not name %s", name)
		}
		for _, m := range link.FindAllStringSubmatch(read(page), -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s points to %s: %v", name, m[1], err)
			}
		}
	}
}
