package schema

import (
	"strings"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
)

func TestAConsumerReadsOnlyWhatItDeclares(t *testing.T) {
	conf, err := supportSpec().ParseYAML("versions: [telemetry/1-3, telemetry/7-, alert/2, all/*]", nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newSupport(conf, service.MockResources())
	if err != nil {
		t.Fatal(err)
	}
	for name, reads := range map[string]bool{
		"telemetry/1": true, "telemetry/3": true, "telemetry/4": false, "telemetry/6": false, "telemetry/7": true, "telemetry/70": true,
		"alert/2": true, "alert/1": false, "alert/3": false, "all/1": true, "all/99": true, "other/1": false, "telemetry": false, "telemetry/x": false, "": false,
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
	for _, bad := range []string{"", "telemetry", "telemetry/", "/1", "telemetry/0", "telemetry/3-1", "telemetry/1-x", "telemetry/a"} {
		if s, err := ParseSupport(bad); err == nil {
			t.Errorf("%q: %+v", bad, s)
		}
	}
}

func TestDeclaredConsumersAreNamedWhenAVersionComes(t *testing.T) {
	r, url := scratch(t)
	run(t, url, []exchange{
		{"PUT", "/consumers/billing", `{"supports":["telemetry/1-3"]}`, 200, `{"name":"billing","supports":["telemetry/1-3"]}`},
		{"PUT", "/consumers/board", `{"supports":["telemetry/*"]}`, 200, ``},
		{"PUT", "/consumers/other", `{"supports":["alert/1"]}`, 200, ``},
		{"PUT", "/consumers/bad", `{"supports":["telemetry"]}`, 422, `SUBJECT/FIRST-LAST`},
		{"PUT", "/consumers/bad", `{"supports":[]}`, 422, `at least one`},
		{"GET", "/consumers", "", 200, `"billing"`},
		{"DELETE", "/consumers/none", "", 404, `"error_code":404`},
	})
	found, err := consumers(t.Context(), r.store.db)
	if err != nil {
		t.Fatal(err)
	}
	if got := unready(found, "telemetry", 4); len(got) != 1 || got[0] != "billing" {
		t.Errorf("not ready for version 4: %v", got)
	}
	report, err := Check(t.Context(), Place{URL: url}, Candidate{Subject: "telemetry", Text: readShipped(t, 3)})
	if err != nil || len(report.Unready) != 1 || report.Unready[0] != "billing" || !report.Compatible {
		t.Errorf("over HTTP: %+v (%v)", report, err)
	}
	run(t, url, []exchange{{"DELETE", "/consumers/billing", "", 200, `"billing"`}, {"GET", "/consumers", "", 200, `board`}})
}
