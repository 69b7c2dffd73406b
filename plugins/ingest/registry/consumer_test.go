package registry

import (
	"testing"
)

func TestRegistry_DeclaredConsumersAreNamedWhenAVersionComes(t *testing.T) {
	r, url := scratch(t)
	run(t, url, []exchange{
		{"PUT", "/consumers/billing", `{"supports":["telemetry/1-3"]}`, 200,
			`{"name":"billing","supports":["telemetry/1-3"]}`},
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
	run(t, url, []exchange{{"DELETE", "/consumers/billing", "", 200, `"billing"`}, {"GET", "/consumers", "", 200,
		`board`}})
}

func TestRegistry_DeclarationsAreReadOrRefused(t *testing.T) {
	for _, bad := range []string{"", "telemetry", "telemetry/", "/1", "telemetry/0", "telemetry/3-1", "telemetry/1-x",
		"telemetry/a"} {
		if s, err := parseSupport(bad); err == nil {
			t.Errorf("%q: %+v", bad, s)
		}
	}
}
