package validate

import (
	"strings"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
)

func TestValidate_AConsumerReadsOnlyWhatItDeclares(t *testing.T) {
	conf, err := supportSpec().ParseYAML("versions: [telemetry/1-3, telemetry/7-, alert/2, all/*]", nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newSupport(conf, service.MockResources())
	if err != nil {
		t.Fatal(err)
	}
	for name, reads := range map[string]bool{
		"telemetry/1": true, "telemetry/3": true, "telemetry/4": false, "telemetry/6": false, "telemetry/7": true,
		"telemetry/70": true,
		"alert/2":      true, "alert/1": false, "alert/3": false, "all/1": true, "all/99": true, "other/1": false,
		"telemetry": false, "telemetry/x": false, "": false,
	} {
		m := message(goodEvent, event.HeaderSchema, name)
		out, err := p.Process(t.Context(), m)
		if err != nil || len(out) != 1 {
			t.Fatal(err)
		}
		r := event.RejectionOf(out[0])
		if (r == nil) != reads {
			t.Errorf("%q: %v", name, r)
		}
		if r != nil && (r.Code != event.CodeProcessingFailed || !strings.Contains(r.Errors[0].Message, "telemetry/1-3")) {
			t.Errorf("%q: %+v", name, r)
		}
	}
}
