package geo

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/tests/integration/mmdb"
)

func country(code string, parts ...any) map[string]any {
	r := map[string]any{"country": map[string]any{"iso_code": code}}
	if len(parts) > 0 {
		r["subdivisions"] = parts
	}
	return r
}

func TestGeo_TellsTheRegionOfAnAddress(t *testing.T) {
	path := filepath.Join(t.TempDir(), "geo.mmdb")
	mmdb.Write(t, path, map[string]any{"203.0.113.0/24": country("DE"), "198.51.100.0/25": country("US",
		map[string]any{"iso_code": "CA"}), "2001:db8:5::/48": country("FR"),
		"192.0.2.0/24":  map[string]any{"country_code": "NL"},
		"100.64.0.0/10": map[string]any{"asn": "none"}})
	f, err := Open(path, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for address, want := range map[string]string{"203.0.113.7": "DE", "198.51.100.1": "US-CA", "198.51.100.129": "",
		"2001:db8:5::1": "FR", "2001:db8:6::1": "", "192.0.2.9": "NL", "::ffff:203.0.113.7": "DE", "100.64.1.1": "",
		"127.0.0.1": "", "fe80::1%eth0": ""} {
		if got, err := f.Region(netip.MustParseAddr(address)); got != want || err != nil {
			t.Errorf("%s: %q, %v", address, got, err)
		}
	}
}

// A new file is taken; one that is none leaves the last one, and is told.
func TestGeo_FollowsItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "geo.mmdb")
	if _, err := Open(path, nil); err == nil {
		t.Fatal("a file that is not there is a database")
	}
	mmdb.Write(t, path, map[string]any{"203.0.113.0/24": country("DE")})
	told := make(chan error, 10)
	f, err := open(path, time.Millisecond, func(err error) { told <- err })
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.WriteFile(path, []byte("no database"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := <-told; err == nil || !strings.Contains(err.Error(), path) {
		t.Fatal(err)
	}
	ask := func() string {
		t.Helper()
		region, err := f.Region(netip.MustParseAddr("203.0.113.7"))
		if err != nil {
			t.Fatal(err)
		}
		return region
	}
	if ask() != "DE" {
		t.Fatal("the last one is not in force")
	}
	mmdb.Write(t, path, map[string]any{"203.0.113.0/24": country("AT"), "192.0.2.0/24": country("FR")})
	if err := <-told; err != nil {
		t.Fatal(err)
	}
	if ask() != "AT" {
		t.Fatal("the new one is not in force")
	}
}
