package storeurl

import (
	"math/rand/v2"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
)

func TestPath_EveryLegalPathComesBack(t *testing.T) {
	for range 5000 {
		name := make([]byte, 1+rand.IntN(12))
		for i := range name {
			name[i] = byte(1 + rand.IntN(255))
		}
		path := string(name)
		raw := New("file", path)
		if got, err := Path(raw); err != nil || got != filepath.Clean(path) {
			t.Fatalf("Path(New(%q)) = %q, %v; the URL is %s", path, got, err, raw)
		}
		if strings.ContainsAny(raw, " \"'\\{}[]$#?\n") {
			t.Fatalf("%q has what a config may take for its own", raw)
		}
	}
}

// What people write in configs means what it meant.
func TestPath_AsWrittenByHand(t *testing.T) {
	for raw, want := range map[string]string{
		"sqlite://data/control.db": "data/control.db", "sqlite:///var/lib/weir/control.db": "/var/lib/weir/control.db",
		"file://data/raw/": "data/raw", "pebble:///my claims": "/my claims", "pebble:///my%20claims": "/my claims",
		"file:///tür": "/tür", "file:////srv//x": "/srv/x", "pebble://./a:b@c": "a:b@c",
	} {
		if got, err := Path(raw); err != nil || got != want {
			t.Errorf("Path(%q) = %q, %v, want %q", raw, got, err, want)
		}
	}
	for _, raw := range []string{"data/raw", "file:/x", "file://", "file:///a?b", "file:///a#b", "file:///100%",
		"file:///%00"} {
		if got, err := Path(raw); err == nil {
			t.Errorf("Path(%q) = %q, want a refusal", raw, got)
		}
	}
}

// Other programs that take URLs read the same path.
func TestNew_IsAURL(t *testing.T) {
	for _, path := range []string{"/a b/c#d?e%20f\n", "/ü/%", "/x:y@z/[1]"} {
		u, err := url.Parse(New("file", path))
		if err != nil || u.Path != path || u.Host != "" {
			t.Errorf("%q as a URL: %q %v, host %q", path, u, err, u.Host)
		}
	}
}

func TestDisk_IsThatOfTheFolderAboveWhatIsNotMadeYet(t *testing.T) {
	dir := t.TempDir()
	for _, scheme := range []string{"file", "sqlite", "pebble"} {
		free, total, ok := Disk(New(scheme, dir+"/not/yet"))
		if !ok || total == 0 || free > total {
			t.Errorf("%s: %d of %d free, %v", scheme, free, total, ok)
		}
	}
	for _, elsewhere := range []string{"s3://bucket", "postgres://h/db", "redis://h", "file://%zz", ""} {
		if _, _, ok := Disk(elsewhere); ok {
			t.Errorf("%q has a disk here", elsewhere)
		}
	}
}
