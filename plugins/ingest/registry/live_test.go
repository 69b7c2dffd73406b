package registry

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/schemas"
)

func TestRegistry_AFolderWithoutSchemasIsRefusedAtStart(t *testing.T) {
	f := Following{URL: "file://" + t.TempDir(), Subject: "telemetry", Every: time.Hour}
	if _, err := Follow(f, service.MockResources()); err == nil || !strings.Contains(err.Error(), "v1.json") {
		t.Errorf("got %v", err)
	}
}

func TestRegistry_ANewVersionTakesEffectWithoutRestart(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, schemas.FS()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "telemetry", "v3.json")); err != nil {
		t.Fatal(err)
	}
	l, err := Follow(Following{URL: "file://" + dir, Subject: "telemetry", Every: 10 * time.Millisecond},
		service.MockResources())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	firmware := []byte("3.0.0")
	if at := l.set.Get().ForFirmware(firmware); at >= 0 {
		t.Fatalf("firmware 3 is already known: %d", at)
	}
	raw, err := schemas.FS().ReadFile("telemetry/v3.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "telemetry", "v3.json"), raw, 0o644); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(5 * time.Second); l.set.Get().ForFirmware(firmware) < 0; {
		if time.Now().After(deadline) {
			t.Fatal("version 3 did not come into force")
		}
		time.Sleep(time.Millisecond)
	}
	// A broken file leaves its own version out, and nothing else.
	if err := os.WriteFile(filepath.Join(dir, "telemetry", "v4.json"), []byte(`{"type":7}`), 0o644); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	var names []string
	for _, s := range l.set.Get().Schemas() {
		names = append(names, s.Name())
	}
	if !slices.Equal(names, []string{"telemetry/3", "telemetry/2", "telemetry/1"}) {
		t.Errorf("in force: %v", names)
	}
}
