package plugins

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"weir/internal/platform/sqldb"
	"weir/internal/platform/storeurl"
	"weir/plugins/ingest/registry"
	"weir/plugins/store/lake"
	shipped "weir/schemas"
)

// awkward are names of folders that are legal, and mean something to URLs, to
// SQLite, to patterns or to YAML.
func awkward() []string {
	names := []string{"line#1", "a b", "a%20b", "100%", "what?", "a\nb", "tür", "x&y=z", ":memory:", "[1]*", `q"u'o`,
		`back\slash`, "\xff\xfe", "…#?%23", "{y}: !a"}
	letters := []byte("ab #?%2035F&=:*[]{}\"'\\\n\t\x01\xc3\xbc\xff@+;,~^|")
	for range 30 {
		name := make([]byte, 1+rand.IntN(10))
		for i := range name {
			name[i] = letters[rand.IntN(len(letters))]
		}
		names = append(names, string(name))
	}
	return names
}

// below returns the files and folders directly in a folder.
func below(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// A store lies at exactly the path that its URL was made of, absolute or not,
// and nothing of it beside. (The claims: TestPebble_LiesAtItsPath.)
func TestStores_LieAtTheirPath(t *testing.T) {
	for _, name := range awkward() {
		for _, relative := range []bool{true, false} {
			root := t.TempDir()
			t.Chdir(root)
			if !relative {
				name = filepath.Join(root, name)
			}
			db, err := sqldb.Open(t.Context(), storeurl.New("sqlite", filepath.Join(name, "s.db")))
			if err != nil {
				t.Errorf("%q: %v", name, err)
				continue
			}
			if _, err := db.Exec("CREATE TABLE x (y)"); err != nil {
				t.Errorf("%q: %v", name, err)
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
			store, err := lake.Open(t.Context(), storeurl.New("file", filepath.Join(name, "raw")+"/"))
			if err == nil {
				err = store.PutBytes(t.Context(), "date=2026-11-27/x.parquet", []byte("x"))
			}
			if err != nil {
				t.Errorf("%q: %v", name, err)
			}
			if err := os.CopyFS(filepath.Join(name, "schemas"), shipped.FS()); err != nil {
				t.Error(err)
			}
			if _, err := registry.LoadSet(t.Context(), registry.Place{URL: storeurl.New("file", filepath.Join(name, "schemas"))},
				"telemetry"); err != nil {
				t.Errorf("%q: %v", name, err)
			}
			if got := below(t, root); !slices.Equal(got, []string{filepath.Base(name)}) {
				t.Errorf("%q made %q", name, got)
			}
			if got := below(t, name); !slices.Equal(got, []string{"raw", "s.db", "schemas"}) {
				t.Errorf("%q has %q", name, got)
			}
		}
	}
}
