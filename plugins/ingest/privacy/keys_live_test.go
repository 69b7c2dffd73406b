package privacy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// Keys change without a restart; of what is no key, or cannot be read, the last
// ones stay in force, and no event goes without.
func TestPrivacy_KeysAreReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	const k1, k2 = "k1:nobody-else-knows-this", "k2:nobody-knows-this-either"
	write(k1)
	config := "{ action: hash, keys_refresh: 5ms, keys: 'file://" + path + "' }"
	p, err := newProcessor(parsed(t, config), service.MockResources())
	if err != nil {
		t.Fatal(err)
	}
	token := func() string {
		t.Helper()
		m := service.NewMessage([]byte(`{"a":"ann@example.com"}`))
		if _, err := p.ProcessBatch(t.Context(), service.MessageBatch{m}); err != nil {
			t.Fatal(err)
		}
		raw, _ := m.AsBytes()
		if !strings.HasPrefix(string(raw), `{"a":"pii-email-k`) {
			t.Fatalf("%s", raw)
		}
		return string(raw)
	}
	until := func(id string) string {
		t.Helper()
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			if got := token(); strings.Contains(got, "-"+id+"-") {
				return got
			}
		}
		t.Fatalf("%s is not in force", id)
		return ""
	}
	first := until("k1")
	write(k2 + "\n" + k1)
	until("k2")
	for _, wrong := range []string{"", "k3:short", "no key at all"} {
		write(wrong)
		keys := followed("file://" + path)
		if err := keys.Use(k2); err != nil {
			t.Fatal(err)
		}
		if _, err := keys.Refresh(t.Context()); err == nil || keys.Get().keys.ids() != "k2" {
			t.Errorf("%q: %v, in force are %s", wrong, err, keys.Get().keys.ids())
		}
	}
	write(k1) // what was wrong before is not in force when this is
	if until("k1") != first {
		t.Error("the same key makes another token")
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}
