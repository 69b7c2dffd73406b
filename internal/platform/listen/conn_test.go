package listen

import "testing"

func TestSource_IsWhatOneCustomerHas(t *testing.T) {
	for remote, want := range map[string]string{
		"10.1.2.3:5000": "10.1.2.3", "[::ffff:10.1.2.3]:1": "10.1.2.3", "[2001:db8:1:2:3:4:5:6]:1": "2001:db8:1:2::/64",
		"[2001:db8:1:2:ffff::1]:1": "2001:db8:1:2::/64", "[fe80::1%eth0]:1": "fe80::/64", "@": "@",
	} {
		if got := source(remote); got != want {
			t.Errorf("%s is counted as %s, want %s", remote, got, want)
		}
	}
}

func TestConnections_AreCountedByAddressAndGivenBack(t *testing.T) {
	l := &connLimiter{bounds: Bounds{Conns: 3, PerAddress: 2}, by: map[string]int{}}
	for i, c := range []struct{ from, want string }{{"a", ""}, {"a", ""}, {"a", ReasonPerAddress}, {"b", ""},
		{"c", ReasonConns}} {
		if got := l.enter(c.from); got != c.want {
			t.Errorf("%d, from %s: %q, want %q", i, c.from, got, c.want)
		}
	}
	for _, from := range []string{"a", "a", "b"} {
		l.leave(from, nil)
	}
	if l.open != 0 || len(l.by) != 0 {
		t.Errorf("%d open of %v", l.open, l.by)
	}
	unbound := &connLimiter{by: map[string]int{}}
	for range 100 {
		if reason := unbound.enter("a"); reason != "" {
			t.Fatal(reason)
		}
	}
}

func TestLoopback_IsWhatOnlyThisMachineReaches(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:1": true, "127.8.8.8:1": true, "[::1]:1": true, "localhost:1": true,
		":1": false, "0.0.0.0:1": false, "[::]:1": false, "10.0.0.1:1": false, "example.com:1": false,
		"localhost.example.com:1": false,
	} {
		if Loopback(address) != want {
			t.Errorf("%s: %t", address, !want)
		}
	}
}
