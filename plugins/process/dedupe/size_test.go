package dedupe

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"weir/internal/platform/storeurl"
	"weir/tests/integration/require"
)

func TestSize_AFolderOfClaimsGrowsWithThem(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "claims")
	size := func() int64 {
		n, ok, err := Size(t.Context(), storeurl.New("pebble", dir))
		if err != nil || !ok {
			t.Fatal(n, ok, err)
		}
		return n
	}
	if n := size(); n != 0 {
		t.Errorf("a folder that is not there has %d bytes", n)
	}
	s := newPebble(vfs.Default, dir, time.Hour, testLog{t})
	defer s.close()
	var found []delivery
	for i := range 1000 {
		found = append(found, delivery{id: newID(), at: at(0, int64(i))})
	}
	ask(t, s, found...)
	if n := size(); n < 16*1000 {
		t.Errorf("%d bytes hold a thousand claims", n)
	}
	if _, ok, err := Size(t.Context(), "memory://"); ok || err != nil {
		t.Errorf("claims in memory have a size: %v", err)
	}
}

func TestSize_AServerThatIsNotThereIsAnError(t *testing.T) {
	if _, _, err := Size(t.Context(), "redis://127.0.0.1:1/0"); err == nil {
		t.Error("it has a size")
	}
}

func TestSize_RedisSaysHowMuchMemoryItUses(t *testing.T) {
	n, ok, err := Size(t.Context(), require.Env(t, "WEIR_TEST_REDIS_URL"))
	if err != nil || !ok || n < 1<<16 {
		t.Errorf("%d %v %v", n, ok, err)
	}
}
