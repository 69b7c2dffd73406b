package api

import (
	"strings"
	"testing"
)

// A version is put, put in force and taken back over HTTP; a wrong rule set is
// refused with its line.
func TestRuleVersions_AreKeptAndPutInForce(t *testing.T) {
	r := start(t, "audit_log: { url: CONTROL }")
	const set = `{"comment":"first","text":"rules: [{ name: minute, key: [device_id], select: { n: count() }, ` +
		`window: { type: tumbling, size: 1m, allowed_lateness: 0s } }]"}`
	for _, c := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"GET", "/v1/rule-versions", "", 200, `{"active":{"number":0},"fleets":[{"fleets":[],"number":0,"version":"","running":[],"behind":0}],"partitions":[],"versions":[]}`},
		{"POST", "/v1/rule-versions", `{"text":"rules:\n  - name: Wrong\n"}`, 422, "line 2"},
		{"POST", "/v1/rule-versions", `[]`, 400, "reading the body"},
		{"POST", "/v1/rule-versions", set, 201, `"number":1`},
		{"POST", "/v1/rule-versions", set, 201, `"number":1`},
		{"GET", "/v1/rule-versions/1", "", 200, `"rules":["minute"]`},
		{"GET", "/v1/rule-versions/2", "", 404, ""},
		{"POST", "/v1/rule-versions/2/activate", "", 404, ""},
		{"POST", "/v1/rule-versions/x/activate", "", 400, ""},
		{"POST", "/v1/rule-versions/rollback", "", 409, "nothing-before"},
		{"POST", "/v1/rule-versions/1/activate", "", 200, `"by":"key `},
		{"GET", "/v1/rule-versions", "", 200, `"active":{"number":1,`},
		{"POST", "/v1/rule-versions/rollback", "", 200, `{"number":0,`},
		{"POST", "/v1/rule-versions/1/activate", `{"fleets":["plant-*"]}`, 200, `"number":0,`},
		{"POST", "/v1/rule-versions/1/activate", `{"fleets":["b"]}`, 409, "for-some-fleets"},
		{"POST", "/v1/rule-versions/1/activate", `{"fleets":[]}`, 400, "fleets are names"},
		{"POST", "/v1/rule-versions/1/activate", `{"fleets":null}`, 400, "fleets are names"},
		{"POST", "/v1/rule-versions/1/activate", `{"fleets":[" "]}`, 400, "fleets are names"},
		{"POST", "/v1/rule-versions/1/activate", `{"fleet":["b"]}`, 400, `unknown field`},
		{"POST", "/v1/rule-versions", `{"texts":"rules: []"}`, 400, `unknown field`},
		{"POST", "/v1/rule-versions/1/activate", `[]`, 400, "reading the body"},
		{"GET", "/v1/rule-versions", "", 200, `"fleets":[{"fleets":["plant-*"],"number":1,"version":"`},
		{"GET", "/v1/rule-versions", "", 200, `"canary":1,"canary_version":"`},
		{"POST", "/v1/rule-versions/1/activate", `{}`, 200, `{"number":1,`},
	} {
		resp, body := r.do(r.admin, c.method, c.path, c.body)
		if resp.StatusCode != c.status || !strings.Contains(body, c.says) {
			t.Errorf("%s %s: %d %s, want %d with %s", c.method, c.path, resp.StatusCode, body, c.status, c.says)
		}
	}
}
