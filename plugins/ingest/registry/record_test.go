//go:build record

package registry

import (
	"os"
	"testing"

	"weir/tests/integration/playback"
)

// TestRegistry_RecordAnotherRegistry makes the recording anew, from the registry with
// nothing in it whose API WEIR_RECORD_REGISTRY names. It is a tool, and not one
// of the tests: go test -tags record -run TestRegistry_RecordAnotherRegistry.
func TestRegistry_RecordAnotherRegistry(t *testing.T) {
	base := os.Getenv("WEIR_RECORD_REGISTRY")
	if base == "" {
		t.Fatal("WEIR_RECORD_REGISTRY names no registry to record: give the URL of its API")
	}
	r := playback.Recording{
		Of: "Apicurio Registry 3.0.9, ccompat API v7", Licence: "Apache-2.0 (the recorded program); the schemas are this " +
			"project's",
		How: "the program of io.apicurio:apicurio-registry-app:3.0.9 in memory, asked what " +
			"TestRegistry_RecordAnotherRegistry asks: WEIR_RECORD_REGISTRY=http://HOST:PORT/apis/ccompat/v7",
		Exchanges: converse(t, base),
	}
	if err := r.Write(recorded); err != nil {
		t.Fatal(err)
	}
}
