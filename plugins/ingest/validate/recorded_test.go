package validate

import (
	"fmt"
	"net/http/httptest"
	"testing"

	"weir/plugins/ingest/registry"
	"weir/plugins/ingest/registry/compat"
	"weir/tests/integration/playback"
)

// TestValidate_ARecordedRegistryIsFollowedAsItGrows puts the other registry in this
// one's place: its versions come into force one by one, the last of which
// refers to another subject.
func TestValidate_ARecordedRegistryIsFollowedAsItGrows(t *testing.T) {
	recording, err := playback.Read("../registry/testdata/registry_apicurio.json")
	if err != nil {
		t.Fatal(err)
	}
	other := playback.NewServer(recording)
	server := httptest.NewServer(other)
	defer server.Close()
	p := validatorOf(t, "url: "+server.URL+"\nsubject: field\nrefresh: 20ms")
	for version, metrics := range map[int]string{1: metrics1, 2: metrics1, 3: metrics3, 4: `{"cpu_temp":1}`} {
		want := fmt.Sprintf("field/%d", version)
		eventually(t, want, func() bool { return judged(t, p, event1(fmt.Sprintf("%d.4.0", version), metrics)) == want })
	}
	for raw, want := range map[string]string{
		event1("1.4.0", `{}`):               "schema_violation",
		event1("4.0.0", `{"fan":1}`):        "schema_violation",
		event1("9.0.0", `{"x":1}`):          "unknown_firmware",
		event1("4.9.9", `{"cpu_temp":"x"}`): "schema_violation",
	} {
		if got := judged(t, p, raw); got != want {
			t.Errorf("%s: %s, want %s", raw, got, want)
		}
	}
	report, err := registry.Check(t.Context(), registry.Place{URL: server.URL}, registry.Candidate{Subject: "field",
		Text: []byte(`{"type":"string"}`)})
	if err != nil || report.Compatible || report.Level != compat.LevelBackward || report.Policy != compat.PolicyStrict {
		t.Errorf("checked by its settings: %+v (%v)", report, err)
	}
	if asked := other.Unknown(); len(asked) > 0 {
		t.Errorf("asked what was not recorded: %v", asked)
	}
}
