package registry

import "testing"

func TestRegistry_TheNewestVersionWinsWhereRangesOverlap(t *testing.T) {
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
