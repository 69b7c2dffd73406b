package registry

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"weir/internal/platform/schemadoc"
	"weir/tests/integration/playback"
)

// recorded is what another registry answered to requests.
const recorded = "testdata/registry_apicurio.json"

// requests are what registries are asked, in order. {id} is the id in the
// answer before that had one.
func requests(t *testing.T) []exchange {
	t.Helper()
	const broken = `{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","properties":{"metrics":{"type":"string"}}}`
	// which the other one compares
	const latest, draft7 = "https://json-schema.org/draft/2020-12/schema", "http://json-schema.org/draft-07/schema#"
	shipped := func(version int) string {
		return posted(t, strings.Replace(string(readShipped(t, version)), latest, draft7, 1))
	}
	uses := posted(t, `{"$schema":"`+draft7+`","x-weir-firmware":">=4.0.0 <5.0.0","type":"object","properties":{"metrics":{"$ref":"readings.json"}}}`,
		Reference{Name: "readings.json", Subject: "readings", Version: 1})
	ask := func(method, path, body string) exchange { return exchange{method: method, path: path, body: body} }
	list := []exchange{
		ask("GET", "/schemas/types", ""),
		ask("PUT", "/config", `{"compatibility":"BACKWARD"}`),
		ask("GET", "/config", ""),
		ask("GET", "/subjects/field/versions", ""),
		ask("GET", "/subjects/field/versions/1", ""),
		ask("POST", "/subjects/field", shipped(1)),
		ask("DELETE", "/subjects/none", ""),
		ask("POST", "/subjects/field/versions", shipped(1)),
		ask("POST", "/subjects/field/versions", shipped(1)),
		ask("GET", "/subjects/field/versions", ""),
		ask("GET", "/subjects/field/versions/1", ""),
		ask("GET", "/subjects/field/versions/latest", ""),
		ask("GET", "/subjects/field/versions/1/schema", ""),
		ask("GET", "/subjects/field/versions/9", ""),
		ask("GET", "/schemas/ids/{id}", ""),
		ask("GET", "/schemas/ids/{id}/versions", ""),
		ask("GET", "/schemas/ids/999999", ""),
		ask("POST", "/subjects/field", shipped(1)),
		ask("POST", "/subjects/field", shipped(2)),
		ask("POST", "/compatibility/subjects/field/versions/latest", shipped(1)),
		ask("POST", "/compatibility/subjects/field/versions/latest", posted(t, broken)),
		ask("POST", "/compatibility/subjects/field/versions/9", shipped(1)),
		ask("POST", "/subjects/field/versions", posted(t, broken)),
		ask("POST", "/subjects/field/versions", posted(t, `{"type":`)),
		ask("GET", "/config/none", ""),
		ask("GET", "/config/field?defaultToGlobal=true", ""),
		ask("PUT", "/config/field", `{"compatibility":"NONE"}`),
		ask("GET", "/config/field", ""),
		ask("PUT", "/config", `{"compatibility":"NONE"}`),
		ask("POST", "/subjects/field/versions", shipped(2)),
		ask("GET", "/subjects/field/versions", ""),
		ask("POST", "/subjects/field/versions", shipped(3)),
		ask("GET", "/subjects/field/versions", ""),
		ask("POST", "/subjects/readings/versions", posted(t, `{"$schema":"`+draft7+`","type":"object","required":["cpu_temp"],"additionalProperties":{"type":"number"}}`)),
		ask("POST", "/subjects/field/versions", uses),
		ask("GET", "/schemas/ids/{id}", ""),
		ask("GET", "/subjects/field/versions", ""),
		ask("GET", "/subjects/readings/versions/1/referencedby", ""),
		ask("DELETE", "/subjects/readings/versions/1", ""),
		ask("POST", "/subjects/field/versions", strings.Replace(uses, `"version":1`, `"version":7`, 1)),
		ask("GET", "/config/field?defaultToGlobal=true", ""),
		ask("DELETE", "/config/field", ""),
		ask("DELETE", "/subjects/field/versions/9", ""),
	}
	for n := 1; n <= 4; n++ {
		list = append(list, ask("GET", fmt.Sprintf("/subjects/field/versions/%d", n), ""),
			ask("GET", fmt.Sprintf("/subjects/field/versions/%d?deleted=true", n), ""))
	}
	return append(list, ask("GET", "/subjects/readings/versions/1?deleted=true", ""), ask("GET", "/consumers", ""))
}

// converse asks a registry all requests.
func converse(t *testing.T, base string) (out []playback.Exchange) {
	t.Helper()
	id := json.Number("0")
	for _, r := range requests(t) {
		e := playback.Exchange{Method: r.method, Path: strings.ReplaceAll(r.path, "{id}", id.String()), Body: r.body}
		req, err := http.NewRequestWithContext(t.Context(), e.Method, base+e.Path, strings.NewReader(e.Body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", registryMediaType+", application/json")
		if e.Body != "" {
			req.Header.Set("Content-Type", registryMediaType)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		e.Status, e.ContentType, e.Answer = res.StatusCode, res.Header.Get("Content-Type"), string(raw)
		var found struct{ ID json.Number }
		if json.Unmarshal(raw, &found) == nil && found.ID != "" {
			id = found.ID
		}
		out = append(out, e)
	}
	return out
}

func recording(t *testing.T) playback.Recording {
	t.Helper()
	r, err := playback.Read(recorded)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// exceptions are the requests that the recorded registry does not answer as
// Confluent's, whose answers are this one's.
func exceptions() map[string]string {
	return map[string]string{
		"GET /schemas/types": "it holds other types too, and lists them otherwise",
		"PUT /config":        "it says compatibilityLevel for compatibility",
		"PUT /config/field":  "it says compatibilityLevel for compatibility",
		"GET /config/none":   "it knows no subject (40401); Confluent's knows no setting (40408)",
		"GET /consumers":     "it is this registry's own",
	}
}

// TestRegistry_TheSameIsAnsweredAsByARecordedRegistry asks weir's registry what the
// other was asked: status and error code are the same, and what the answer
// holds by name is there.
func TestRegistry_TheSameIsAnsweredAsByARecordedRegistry(t *testing.T) {
	_, url := scratch(t)
	theirs, ours := recording(t).Exchanges, converse(t, url)
	if len(theirs) != len(ours) {
		t.Fatalf("%d requests were recorded, and there are %d: record anew", len(theirs), len(ours))
	}
	for i, want := range theirs {
		got, name := ours[i], requests(t)[i].method+" "+requests(t)[i].path
		if exceptions()[name] != "" {
			continue
		}
		if want.Body != got.Body {
			t.Errorf("%s: another body was recorded: record anew", name)
		}
		if got.Status != want.Status {
			t.Errorf("%s: %d %s, and theirs %d %s", name, got.Status, got.Answer, want.Status, want.Answer)
			continue
		}
		for _, line := range lacks(t, want.Answer, got.Answer) {
			t.Errorf("%s: %s\nours   %s\ntheirs %s", name, line, got.Answer, want.Answer)
		}
	}
}

// lacks lists what one JSON answer has by name, and another has not or of
// another type. Error codes must be equal.
func lacks(t *testing.T, theirs, ours string) (lines []string) {
	t.Helper()
	want, err1 := schemadoc.Decode([]byte(theirs))
	got, err2 := schemadoc.Decode([]byte(ours))
	if err1 != nil || err2 != nil {
		return []string{fmt.Sprintf("no JSON: %v, %v", err1, err2)}
	}
	var walk func(at string, want, got any)
	walk = func(at string, want, got any) {
		if fmt.Sprintf("%T", want) != fmt.Sprintf("%T", got) {
			lines = append(lines, fmt.Sprintf("%s is a %T, and theirs a %T", at, got, want))
			return
		}
		switch want := want.(type) {
		case map[string]any:
			if want["error_code"] != got.(map[string]any)["error_code"] {
				lines = append(lines, fmt.Sprintf("error code %v, and theirs %v", got.(map[string]any)["error_code"],
					want["error_code"]))
			}
			for _, name := range slices.Sorted(maps.Keys(want)) {
				if list, empty := want[name].([]any); empty && len(list) == 0 {
					continue // what is empty may be left out
				}
				if value, ok := got.(map[string]any)[name]; ok {
					walk(at+"/"+name, want[name], value)
				} else {
					lines = append(lines, at+"/"+name+" is missing")
				}
			}
		case []any:
			if len(want) != len(got.([]any)) {
				lines = append(lines, fmt.Sprintf("%s has %d items, and theirs %d", at, len(got.([]any)), len(want)))
				return
			}
			for i := range want {
				walk(fmt.Sprintf("%s/%d", at, i), want[i], got.([]any)[i])
			}
		}
	}
	walk("#", want, got)
	slices.Sort(lines)
	return lines
}
