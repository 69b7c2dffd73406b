package firmware

import (
	"strings"
	"testing"
)

func TestRange_Contains(t *testing.T) {
	for _, c := range []struct {
		ranges, version string
		in              bool
	}{
		{">=1.0.0 <2.0.0", "1.0.0", true},
		{">=1.0.0 <2.0.0", "1.99.99", true},
		{">=1.0.0 <2.0.0", "2.0.0", false},
		{">=1.0.0 <2.0.0", "0.99.0", false},
		{"\t>=1.0.0 \n <2.0.0 ", "1.5", true},
		{">=1.2.10", "1.2.9", false},

		// alternatives
		{">=1 <2 || >=4.5", "4.5.0", true},
		{">=1 <2||>=4.5", "3.0.0", false},
		{"1.0.0 || 2.0.0", "2.0.0", true},
		{"1.0.0 2.0.0", "2.0.0", false},

		// a short bound is one version: no wildcard, no "next"
		{"1", "1.0.0", true},
		{"1", "1.2.0", false},
		{"=1.2", "1.2.1", false},
		{"=1.2.3", "1.2.3", true},
		{"1.2.3", "1.2.4", false},
		{">1", "1.0.0", false},
		{">1", "1.0.1", true},
		{">1.2", "1.2.1", true},
		{"<=1", "1.0.0", true},
		{"<=1", "1.0.1", false},
		{"<=1.2", "1.2.1", false},
		{">=0", "0.0.0", true},
		{">1.2.3 <=1.3.0", "1.2.3", false},
		{">1.2.3 <=1.3.0", "1.3.0", true},

		// pre-releases and builds count as what they precede, in ranges too
		{">=2 <3", "2.0.0-rc.1", true},
		{">=1 <2", "2.0.0-rc.1", false},
		{">=1 <2.0.0-rc.1", "2.0.0-beta", false},
		{">=2.0.0-rc.2", "2.0.0-rc.1", true},
		{"=2.0.0+b", "2.0.0+a", true},
		{">=2 <3", "2.1.0+build.7", true},
		{">=2 <3", "2.1-rc_1 of today", true},
		{">=2 <3", "2.1.0-+", true},

		{">=2 <3", "v2.1", true},
		{">=v2 <v3", "2", true},
		{">=1.2.3", "01.002.0003", true},
		{">=1", "2684354569.0.0", true},
		{strings.Repeat("9 || ", 1000) + "1.2", "1.2.0", true},
		{strings.Repeat(">=1.0.0 ", 1000) + "<2", "1.2." + strings.Repeat("0", 300), true},
	} {
		r, err := ParseRange(c.ranges)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := Parse(c.version); !ok || r.ContainsText(c.version) != c.in {
			t.Errorf("%.40q in %.40q is %v (read: %v)", c.version, c.ranges, !c.in, ok)
		}
	}
	if (Range)(nil).ContainsText("1.0.0") {
		t.Error("no range has 1.0.0")
	}
}

func TestParseRange_Refuses(t *testing.T) {
	for _, bad := range []string{
		"", " ", "||", ">=1 ||", "|| 1", ">=1 | <2", ">=", ">= 1.0.0 < 2.0.0", "> =1", "=>1", "=<1", "==1", "<>1", "><1",
		"!=1",
		"~1", "~>1", "^1.2", "*", "x", "1.x", "1.2.*", ">=1,<2", ">=1, <2", "1 - 2", ">=1<2", "1.2.3.4", "1.", "V1",
		">=1.2.3-", "１",
		">=2684354570",
	} {
		if r, err := ParseRange(bad); err == nil {
			t.Errorf("range %q: %v", bad, r)
		}
	}
}

func TestParse_Refuses(t *testing.T) {
	for _, bad := range []string{
		"", "v", "vv1", "V1", "x", "1.", ".1", "1..2", "1.2.3.4", "1.2.3-", "1.2.3+", "-1", "+1", "v-1", "1 ", " 1", "1\n",
		"１", "1.x",
		"2684354570", "1.2684354570", "1.2.2684354570", "18446744073709551616", "99999999999999999999",
	} {
		if v, ok := Parse(bad); ok {
			t.Errorf("version %q: %v", bad, v)
		}
	}
}

func TestRange_Possible(t *testing.T) {
	for ranges, want := range map[string]bool{
		"<1": true, ">1": true, "1": true, "<=0": true, "<0": false, "<0.0.1": true, ">1 <1.0.1": false, ">1 <1.0.2": true,
		">=1 <1": false,
		"1 2":    false, "1 2 || 3": true, ">2684354569": true, "<1 >0.2684354569.2684354569": true, ">=2 <2.0.0-rc.1": false,
	} {
		if r, err := ParseRange(ranges); err != nil || r.Possible() != want {
			t.Errorf("%q is possible: %v (%v)", ranges, !want, err)
		}
	}
}
