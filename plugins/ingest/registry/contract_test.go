package registry

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"weir/internal/platform/schemadoc"
)

// ofEvents is a schema of events with some properties.
func ofEvents(properties string) string {
	return `{"x-weir-firmware":">=7 <8","type":"object","properties":{` + properties + `}}`
}

func TestContract_SchemasThatNoEventPassesAreNamed(t *testing.T) {
	metrics := func(s string) string { return ofEvents(`"metrics":` + s) }
	for name, c := range map[string]struct{ schema, pointer, says string }{
		"a metric is text": {metrics(`{"properties":{"a":{"type":"string"}}}`),
			"/properties/metrics/properties/a/type", "metric a is a number"},
		"a metric is a list": {metrics(`{"properties":{"axes":{"type":"array","items":{"type":"number"}}}}`),
			"/properties/metrics/properties/axes/type", "array"},
		"a metric may be null": {metrics(`{"properties":{"m":{"type":["number","null"]}}}`),
			"/properties/metrics/properties/m/type", "never null"},
		"through a reference": {metrics(`{"$ref":"#/$defs/m"}},"$defs":{"m":{"properties":{"a":{"type":"boolean"}}}`),
			"/$defs/m/properties/a/type", "boolean"},
		"of allOf": {metrics(`{"allOf":[{"properties":{"a":{"type":"boolean"}}}]}`),
			"/properties/metrics/allOf/0/properties/a/type", "boolean"},
		"unknown metrics are text": {metrics(`{"additionalProperties":{"type":"string"}}`),
			"/properties/metrics/additionalProperties/type", "a metric is a number"},
		"metrics by pattern": {metrics(`{"patternProperties":{"^t_":{"type":"object"}}}`),
			"/properties/metrics/patternProperties/^t_/type", "object"},
		"no alternative is a number": {metrics(`{"properties":{"a":{"anyOf":[{"type":"string"},{"type":"null"}]}}}`),
			"/properties/metrics/properties/a/anyOf/0", "alternatives"},
		"an enum of texts": {metrics(`{"properties":{"a":{"enum":["on","off"]}}}`),
			"/properties/metrics/properties/a/enum", "a number"},
		"an enum out of bounds": {metrics(`{"properties":{"a":{"minimum":5,"enum":[1,2]}}}`),
			"/properties/metrics/properties/a/enum", "no value"},
		"bounds that cross": {metrics(`{"properties":{"a":{"minimum":5,"maximum":4}}}`),
			"/properties/metrics/properties/a/minimum", "bounds"},
		"bounds that meet": {metrics(`{"properties":{"a":{"exclusiveMinimum":5,"maximum":5}}}`),
			"/properties/metrics/properties/a/exclusiveMinimum", "bounds"},
		"a required metric is false": {metrics(`{"required":["a"],"properties":{"a":false}}`),
			"/properties/metrics/properties/a", "false"},
		"a required name is undeclared": {metrics(`{"required":["a"],"additionalProperties":false}`),
			"/properties/metrics/additionalProperties", "declared nowhere"},
		"more names than may be": {metrics(`{"required":["a","b"],"maxProperties":1}`),
			"/properties/metrics/maxProperties", "a, b"},
		"metrics are a list":       {metrics(`{"type":"array"}`), "/properties/metrics/type", "an object"},
		"metrics are false":        {ofEvents(`"metrics":false`), "/properties/metrics", "false"},
		"metrics are not declared": {`{"x-weir-firmware":">=1","properties":{"event_id":{},"device_id":{},"device_firmware_version":{},"timestamp":{}},"additionalProperties":false}`, "/additionalProperties", "must have metrics"},
		"an event is text":         {`{"x-weir-firmware":">=1","type":"string"}`, "/type", "an object"},
		"too few names":            {`{"x-weir-firmware":">=1","maxProperties":4}`, "/maxProperties", "5 names"},
		"the id is a number":       {ofEvents(`"event_id":{"type":"integer"}`), "/properties/event_id/type", "a string"},
		"the id is short": {ofEvents(`"event_id":{"maxLength":32}`), "/properties/event_id/maxLength",
			"36 characters"},
		"the id is an address": {ofEvents(`"event_id":{"format":"ipv4"}`), "/properties/event_id/format",
			"never ipv4"},
		"the time is a number": {ofEvents(`"timestamp":{"type":"number"}`), "/properties/timestamp/type",
			"a string"},
		"the time is a date": {ofEvents(`"timestamp":{"format":"date"}`), "/properties/timestamp/format",
			"RFC 3339"},
		"the time is short": {ofEvents(`"timestamp":{"maxLength":10}`), "/properties/timestamp/maxLength",
			"20 characters"},
		"the time is one of two words": {ofEvents(`"timestamp":{"enum":["now","then"]}`), "/properties/timestamp/enum",
			"no value"},
		"the device is one with space": {ofEvents(`"device_id":{"const":"pump 1"}`), "/properties/device_id/const",
			"no value"},
		"firmware of another range": {ofEvents(`"device_firmware_version":{"enum":["6.0.0","8.0.0"]}`),
			"/properties/device_firmware_version/enum", "in the range >=7 <8"},
		"diagnostics are text": {ofEvents(`"diagnostics":{"type":"string"}`), "/properties/diagnostics/type",
			"an object"},
		"no firmware is in the range": {`{"x-weir-firmware":">=3 <2"}`, "/x-weir-firmware", ">=3 <2"},
		"nor between patches":         {`{"x-weir-firmware":">1.0.0 <1.0.1"}`, "/x-weir-firmware", "no version"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Compile("s", 1, []byte(c.schema))
			if err != nil {
				t.Fatal(err)
			}
			found := s.problems()
			if len(found) != 1 || found[0].Pointer != c.pointer || !strings.Contains(found[0].Message, c.says) {
				t.Errorf("got %v, want #%s: …%s…", found, c.pointer, c.says)
			}
		})
	}
}

// TestContract_SchemasThatEventsPassHaveNoProblem tries an event on each.
func TestContract_SchemasThatEventsPassHaveNoProblem(t *testing.T) {
	const sent = `{"event_id":"6f1c2a34-9b7d-4e21-8a55-0c1d2e3f4a5b","device_id":"pump-1","device_firmware_version":"7.1.0","timestamp":"2026-11-27T09:30:00Z","metrics":{"a":1}}`
	doc, err := schemadoc.Decode([]byte(sent))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		string(readShipped(t, 1)), string(readShipped(t, 2)), string(readShipped(t, 3)),
		`{"x-weir-firmware":">=7 <8"}`, `{"x-weir-firmware":"<0.0.1 || =7.1.0"}`, ofEvents(``),
		ofEvents(`"metrics":{"properties":{"a":{"type":"integer"},"b":false,"c":{}}}`),
		ofEvents(`"metrics":{"properties":{"a":{"anyOf":[{"type":"string"},{"type":"number"}]}}}`),
		ofEvents(`"metrics":{"required":["a"],"additionalProperties":true}`),
		ofEvents(`"event_id":{"format":"uuid","minLength":36,"maxLength":36,"pattern":"-"}`),
		ofEvents(`"device_id":{"pattern":"^pump-\\d{1,4}$","maxLength":20}`),
		ofEvents(`"timestamp":{"format":"date-time","pattern":"Z$"}`),
		ofEvents(`"device_firmware_version":{"enum":["6.0.0","7.1.0"]}`),
		ofEvents(`"diagnostics":{"type":["object","null"]}`),
		`{"x-weir-firmware":">=7 <8","required":["event_id"],"properties":{"metrics":{"patternProperties":{"^a$":{"type":"number"}},"additionalProperties":false}}}`,
	} {
		s, err := Compile("s", 1, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if found := s.problems(); len(found) > 0 {
			t.Errorf("%.200s: %v", text, found)
		}
		if err := s.Library.Validate(doc); err != nil && !strings.Contains(text, "cpu_temp") {
			t.Errorf("%s: the event: %v", text, err)
		}
	}
}

func TestContract_RegistrationRefusesWithTheReason(t *testing.T) {
	_, url := scratch(t)
	submit := func(schema string) string {
		raw, err := json.Marshal(map[string]string{"schema": schema, "schemaType": "JSON"})
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	bad := ofEvents(`"metrics":{"properties":{"on":{"type":"boolean"}}}`)
	run(t, url, []exchange{
		{"POST", "/subjects/field/versions", submit(bad), 422,
			`#/properties/metrics/properties/on/type: metric on is a number`},
		// no schema of events
		{"POST", "/subjects/field/versions", submit(strings.Replace(bad, `"x-weir-firmware":">=7 <8",`, ``, 1)), 200,
			`"version":1`},
		{"POST", "/subjects/more/versions", submit(ofEvents(``)), 200, `"version":1`},
		{"POST", "/subjects/more/versions", submit(`{"type":"object","properties":{}}`), 422,
			`none would ever choose this one`},
		// what some programs begin UTF-8 with, before the request and before its schema
		{"POST", "/subjects/b/versions", "\uFEFF" + submit("\uFEFF"+`{"type":"object"}`), 200, `"version":1`},
		{"POST", "/subjects/b", submit(`{"type":"object"}`), 200, `"version":1`},
		{"POST", "/subjects/p/versions", submit(`{"pattern":"^(?!x)"}`), 422, `#/pattern: pattern`},
		{"POST", "/subjects/p/versions", submit(`{"pattern":"^[a-z]{0,2000}$"}`), 200, `"version":1`},
		{"POST", "/subjects/d/versions", submit(`{"$schema":"https://example.com/x","type":"object"}`), 422,
			`names the dialect`},
	})
	report, err := Check(t.Context(), Place{URL: url}, Candidate{Subject: "more", Text: []byte(bad)})
	if err != nil || report.Compatible || fmt.Sprint(report.Problems) == "[]" {
		t.Errorf("checked: %+v (%v)", report, err)
	}
}
