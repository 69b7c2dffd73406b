package dedupe

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"weir/tests/integration/vaulted"
)

// hear is a Redis that keeps what it is told by AUTH, and refuses.
func hear(conn net.Conn, keep func(string)) {
	r := bufio.NewReader(conn)
	var n int
	if _, err := fmt.Fscanf(r, "*%d\r\n", &n); err != nil {
		return
	}
	var words []string
	for range n {
		var size int
		if _, err := fmt.Fscanf(r, "$%d\r\n", &size); err != nil {
			return
		}
		word := make([]byte, size+2)
		if _, err := io.ReadFull(r, word); err != nil {
			return
		}
		words = append(words, string(word[:size]))
	}
	keep(words[len(words)-1])
	_, _ = io.WriteString(conn, "-WRONGPASS invalid username-password pair\r\n")
	_, _ = io.Copy(io.Discard, r)
}

// Each connection has the password that is in the Vault then, whatever it holds,
// and no error shows it.
func TestRedis_ThePasswordOfTheVaultIsOfEachConnection(t *testing.T) {
	set := vaulted.Start(t)
	d := vaulted.NewDoor(t, hear)
	r, err := newRedis("redis://weir@"+d.Address+"/0?password="+vaulted.Reference, time.Minute, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	for i, password := range vaulted.Hostile() {
		set(password)
		_, err := r.conns.Connect(t.Context())
		told := d.Told()
		if len(told) != i+1 || told[i] != password {
			t.Fatalf("the server was told %q, want %q at the end", told, password)
		}
		if err == nil || !strings.Contains(err.Error(), "WRONGPASS") || strings.Contains(err.Error(), password) {
			t.Errorf("%q: %v", password, err)
		}
	}
	if _, err := newRedis("redis://h?password=vault://no-field", time.Minute, time.Minute); err == nil {
		t.Error("a reference without a field is taken")
	}
}
