package registry

import "testing"

func TestFirmwareRanges(t *testing.T) {
	for _, c := range []struct {
		ranges, version string
		in              bool
	}{
		{">=1.0.0 <2.0.0", "1.0.0", true},
		{">=1.0.0 <2.0.0", "1.99.99", true},
		{">=1.0.0 <2.0.0", "2.0.0", false},
		{">=1.0.0 <2.0.0", "0.99.0", false},
		{">=2 <3", "2.0.0-rc.1", true},
		{">=1 <2", "2.0.0-rc.1", false},
		{">=2 <3", "2.1.0+build.7", true},
		{">=2 <3", "v2.1", true},
		{">=2 <3", "2", true},
		{"=1.2.3", "1.2.3", true},
		{"1.2.3", "1.2.4", false},
		{">1.2.3 <=1.3.0", "1.2.3", false},
		{">1.2.3 <=1.3.0", "1.3.0", true},
		{">=1 <2 || >=4.5", "4.5.0", true},
		{">=1 <2 || >=4.5", "3.0.0", false},
		{">=1.2.10", "1.2.9", false},
		{">=1", "268435455.0.0", true},
	} {
		r, err := parseFirmwareRange(c.ranges)
		if err != nil {
			t.Fatal(err)
		}
		v, ok := parseVersion(c.version)
		if !ok || r.contains(v) != c.in {
			t.Errorf("%s in %q is %v (read: %v)", c.version, c.ranges, !c.in, ok)
		}
	}
	for _, bad := range []string{"", " ", "||", ">=1 ||", "~1", "=>1", ">=", "1.x", "^1.2", ">=1,<2", "<>1", "1.2.3.4"} {
		if r, err := parseFirmwareRange(bad); err == nil {
			t.Errorf("range %q: %v", bad, r)
		}
	}
	for _, bad := range []string{"", "v", "x", "1.", ".1", "1..2", "1.2.3.4", "1.2.3-", "-1", "1 ", "１", "99999999999999999999", "1.2.3+"} {
		if v, ok := parseVersion(bad); ok {
			t.Errorf("version %q: %v", bad, v)
		}
	}
}

func TestTheNewestVersionWinsWhereRangesOverlap(t *testing.T) {
	compile := func(version int, firmware string) *Schema {
		s, err := Compile("t", version, []byte(`{"x-weir-firmware":"`+firmware+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	set := NewSet("t", []*Schema{compile(1, ">=1 <3"), compile(3, ">=2.5 <2.6"), compile(2, ">=2 <3")})
	for firmware, want := range map[string]string{"1.0.0": "t/1", "2.0.0": "t/2", "2.5.1": "t/3", "2.6.0": "t/2"} {
		for range 2 { // the second time remembered
			if at := set.ForFirmware([]byte(firmware)); at < 0 || set.Schemas()[at].Name() != want {
				t.Errorf("%s: %d, want %s", firmware, at, want)
			}
		}
	}
	if at := set.ForFirmware([]byte("3.0.0")); at >= 0 {
		t.Errorf("3.0.0: %d", at)
	}
}
