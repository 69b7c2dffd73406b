package registry

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/sr"

	"weir/internal/platform/schemadoc"
	"weir/internal/platform/sqldb"
	"weir/plugins/ingest/registry/compat"
)

// posted is the body that registers a schema with references.
func posted(t *testing.T, text string, references ...Reference) string {
	t.Helper()
	raw, err := json.Marshal(submission{Schema: text, SchemaType: "JSON", References: references})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestRegistry_ReferencesAreKeptAndFollowed(t *testing.T) {
	stores(t, func(t *testing.T, db *sqldb.DB) {
		_, url := serve(t, db)
		cl, err := sr.NewClient(sr.URLs(url))
		if err != nil {
			t.Fatal(err)
		}
		ctx := t.Context()
		unit, err := cl.CreateSchema(ctx, "unit", jsonSchema(`{"type":"string","enum":["C","K"]}`))
		if err != nil {
			t.Fatal(err)
		}
		reading := jsonSchema(`{"type":"object","properties":{"value":{"type":"number"},"unit":{"$ref":"unit.json"}},"definitions":{"positive":{"type":"number","exclusiveMinimum":0}}}`)
		reading.References = []sr.SchemaReference{{Name: "unit.json", Subject: "unit", Version: 1}}
		if _, err := cl.CreateSchema(ctx, "reading", reading); err != nil {
			t.Fatal(err)
		}
		whole := jsonSchema(`{"type":"object","properties":{"cpu":{"$ref":"reading.json"},"count":{"$ref":"reading.json#/definitions/positive"}}}`)
		whole.References = []sr.SchemaReference{{Name: "reading.json", Subject: "reading", Version: 1}}
		got, err := cl.CreateSchema(ctx, "whole", whole)
		if err != nil || len(got.References) != 1 || got.References[0] != whole.References[0] {
			t.Fatalf("got %+v (%v)", got, err)
		}
		if again, err := cl.CreateSchema(ctx, "whole", whole); err != nil || again.ID != got.ID {
			t.Errorf("again: %+v (%v)", again, err)
		}
		if s, err := cl.SchemaByID(ctx, got.ID); err != nil || len(s.References) != 1 || s.Schema != whole.Schema {
			t.Errorf("by id: %+v (%v)", s, err)
		}
		if s, err := cl.LookupSchema(ctx, "whole", whole); err != nil || s.ID != got.ID {
			t.Errorf("look-up: %+v (%v)", s, err)
		}
		if refs, err := cl.SchemaReferences(ctx, "unit", 1); err != nil || len(refs) != 1 || refs[0].Subject != "reading" {
			t.Errorf("referenced by %+v (%v)", refs, err)
		}
		if s, err := cl.SchemaByID(ctx, unit.ID); err != nil || s.References != nil {
			t.Errorf("without references: %+v (%v)", s, err)
		}
		deletingReferenced(t, cl)
	})
}

func deletingReferenced(t *testing.T, cl *sr.Client) {
	t.Helper()
	ctx := t.Context()
	if err := cl.DeleteSchema(ctx, "unit", 1, sr.SoftDelete); !is(err, 42206) {
		t.Errorf("deleting what is referred to: %v", err)
	}
	if _, err := cl.DeleteSubject(ctx, "reading", sr.SoftDelete); !is(err, 42206) {
		t.Errorf("deleting a subject that is referred to: %v", err)
	}
	for _, subject := range []string{"whole", "reading", "unit"} {
		if _, err := cl.DeleteSubject(ctx, subject, sr.SoftDelete); err != nil {
			t.Errorf("deleting %s: %v", subject, err)
		}
	}
	if _, err := cl.DeleteSubject(ctx, "unit", sr.HardDelete); !is(err, 42206) {
		t.Errorf("deleting for good what can still be read by reference: %v", err)
	}
	for _, subject := range []string{"whole", "reading", "unit"} {
		if _, err := cl.DeleteSubject(ctx, subject, sr.HardDelete); err != nil {
			t.Errorf("deleting %s for good: %v", subject, err)
		}
	}
}

func TestRegistry_ReferencesAreWrittenAsNameSubjectVersion(t *testing.T) {
	for text, want := range map[string]Reference{
		"a.json=a/1":          {"a.json", "a", 1},
		"x=a/b/12":            {"x", "a/b", 12},
		"http://h/x=s/latest": {"http://h/x", "s", -1},
	} {
		if got, err := ParseReference(text); err != nil || got != want {
			t.Errorf("%s: %+v (%v)", text, got, err)
		}
	}
	for _, text := range []string{"", "a", "a=b", "=b/1", "a=/1", "a=b/0", "a=b/x"} {
		if got, err := ParseReference(text); err == nil {
			t.Errorf("%s: %+v", text, got)
		}
	}
}

func TestRegistry_ReferencesAreRefusedWhereTheyLeadNowhere(t *testing.T) {
	_, url := scratch(t)
	to := func(name, subject string, version int) Reference { return Reference{name, subject, version} }
	uses := `{"properties":{"a":{"$ref":"a.json"}}}`
	run(t, url, []exchange{
		{"POST", "/subjects/a/versions", posted(t, `{"$schema":"http://json-schema.org/draft-07/schema#","type":"string"}`),
			200, `"version":1`},
		{"POST", "/subjects/s/versions", posted(t, uses), 422, `"error_code":42201`},
		{"POST", "/subjects/s/versions", posted(t, uses, to("a.json", "none", 1)), 422,
			`No schema reference found for subject \"none\" and version 1`},
		{"POST", "/subjects/s/versions", posted(t, uses, to("a.json", "a", 2)), 422, `"error_code":42201`},
		{"POST", "/subjects/s/versions", posted(t, uses, to("", "a", 1)), 422, `"error_code":42201`},
		{"POST", "/subjects/s/versions", posted(t, uses, to("a.json", "a", 1), to("a.json", "a", 1)), 422,
			`"error_code":42201`},
		{"POST", "/subjects/s/versions", posted(t, `{"$schema":"https://json-schema.org/draft/2020-12/schema"}`,
			to("a.json", "a", 1)), 422, `of one draft`},
		{"POST", "/subjects/s/versions", posted(t, `{"$ref":"http://127.0.0.1:1/b.json"}`, to("a.json", "a", 1)), 422,
			`"error_code":42201`},
		{"POST", "/subjects/s/versions", posted(t, `{"$ref":"a.json#/definitions/none"}`, to("a.json", "a", 1)), 422,
			`"error_code":42201`},
		{"POST", "/subjects/s/versions", posted(t, uses, to("a.json", "a", -1)), 200,
			`"references":[{"name":"a.json","subject":"a","version":1}]`},
		{"GET", "/subjects/a/versions/1/referencedby", "", 200, `[`},
		{"DELETE", "/subjects/a/versions/1", "", 422, `"error_code":42206`},
		{"POST", "/subjects/s/versions", posted(t, `{"properties":{"a":{"$ref":"a.json","title":"b"}}}`,
			to("a.json", "a", 1)), 200, `"version":2`},
	})
}

// TestRegistry_WhatIsReferredToCountsForCompatibility changes only the version that a
// schema refers to.
func TestRegistry_WhatIsReferredToCountsForCompatibility(t *testing.T) {
	_, url := scratch(t)
	uses := `{"type":"object","properties":{"a":{"$ref":"a.json"}}}`
	run(t, url, []exchange{
		{"POST", "/subjects/a/versions", posted(t, `{"type":"integer"}`), 200, `"version":1`},
		{"POST", "/subjects/a/versions", posted(t, `{"type":"number"}`), 200, `"version":2`},
		{"PUT", "/config/a", `{"compatibility":"NONE"}`, 200, `NONE`},
		{"POST", "/subjects/a/versions", posted(t, `{"type":"string"}`), 200, `"version":3`},
		{"POST", "/subjects/s/versions", posted(t, uses, Reference{"a.json", "a", 1}), 200, `"version":1`},
		{"POST", "/compatibility/subjects/s/versions/latest?verbose=true", posted(t, uses, Reference{"a.json", "a", 3}), 200,
			`TYPE_CHANGED at #/definitions/a.json`},
		{"POST", "/subjects/s/versions", posted(t, uses, Reference{"a.json", "a", 3}), 409, `"error_code":409`},
		{"POST", "/subjects/s/versions", posted(t, uses, Reference{"a.json", "a", 2}), 200, `"version":2`},
		{"POST", "/subjects/s/versions", posted(t, uses, Reference{"a.json", "a", 1}), 200, `"version":1`}, // it is there
		{"POST", "/subjects/s", posted(t, uses, Reference{"a.json", "a", 2}), 200, `"version":2`},
		{"POST", "/subjects/s", posted(t, uses, Reference{"a.json", "a", 3}), 404, `40403`},
	})
}

// TestRegistry_ABundleMeansWhatItsPartsMean compiles schemas with references in the
// forms that drafts have, and judges by them.
func TestRegistry_ABundleMeansWhatItsPartsMean(t *testing.T) {
	to := func(name, text string, further ...referred) referred {
		return referred{Reference: Reference{Name: name, Subject: name, Version: 1}, text: text, references: further}
	}
	const draft7, draft4 = `"$schema":"http://json-schema.org/draft-07/schema#",`,
		`"$schema":"http://json-schema.org/draft-04/schema#",`
	word := `{"type":"string"}`
	for name, c := range map[string]struct {
		text      string
		refs      []referred
		good, bad string
	}{
		"by a file's name": {`{"properties":{"a":{"$ref":"a.json"}}}`, []referred{to("a.json", word)}, `{"a":"x"}`,
			`{"a":1}`},
		"by a URL": {`{"properties":{"a":{"$ref":"https://example.com/a"}}}`,
			[]referred{to("https://example.com/a", word)}, `{"a":"x"}`, `{"a":1}`},
		"beside the own $id": {`{"$id":"https://example.com/x/root.json","properties":{"a":{"$ref":"a.json"}}}`,
			[]referred{to("a.json", word)}, `{"a":"x"}`, `{"a":1}`},
		"to what has its own id": {`{"properties":{"a":{"$ref":"a.json"}}}`,
			[]referred{to("a.json", `{"$id":"https://example.com/y.json","$ref":"#/$defs/z","$defs":{"z":{"type":"string"}}}`)},
			`{"a":"x"}`, `{"a":1}`},
		"at the root": {`{"$ref":"a.json"}`, []referred{to("a.json", word)}, `"x"`, `1`},
		"at a draft 7 root": {`{` + draft7 + `"$ref":"a.json","type":"number"}`,
			[]referred{to("a.json", `{`+draft7+`"$ref":"b.json"}`, to("b.json", word))}, `"x"`, `1`},
		"of draft 4": {`{` + draft4 + `"properties":{"a":{"$ref":"a.json#/definitions/b"}}}`,
			[]referred{to("a.json", `{`+draft4+`"id":"http://example.com/a.json","definitions":{"b":{"maximum":3,"exclusiveMaximum":true}}}`)}, `{"a":2}`, `{"a":3}`},
		"through another": {`{"properties":{"a":{"$ref":"a.json"}}}`,
			[]referred{to("a.json", `{"items":{"$ref":"b.json#/$defs/n"}}`, to("b.json", `{"$defs":{"n":{"type":"number"}}}`))},
			`{"a":[1]}`, `{"a":["x"]}`},
		"by an anchor": {`{"properties":{"a":{"$ref":"a.json#here"}}}`,
			[]referred{to("a.json", `{"$defs":{"b":{"$anchor":"here","type":"string"}}}`)}, `{"a":"x"}`, `{"a":1}`},
		"to itself as well": {`{"properties":{"a":{"$ref":"a.json"},"more":{"$ref":"#"}}}`,
			[]referred{to("a.json", word)}, `{"more":{"a":"x"}}`, `{"more":{"a":1}}`},
		"twice by two names": {`{"properties":{"a":{"$ref":"a.json"},"b":{"$ref":"b.json"}}}`,
			[]referred{to("a.json", word), to("b.json", `{"type":"number"}`)}, `{"a":"x","b":1}`, `{"a":"x","b":"x"}`},
		"under a keyword's name": {`{"properties":{"default":{"$ref":"a.json"}}}`, []referred{to("a.json", word)},
			`{"default":"x"}`, `{"default":1}`},
		"to false": {`{"properties":{"a":{"$ref":"a.json"}}}`, []referred{to("a.json", `false`)}, `{}`,
			`{"a":1}`},
		"beside definitions": {`{"definitions":{"a.json":{"type":"number"}},"properties":{"a":{"$ref":"a.json"},"b":{"$ref":"#/definitions/a.json"}}}`, []referred{to("a.json", word)}, `{"a":"x","b":1}`, `{"a":"x","b":"x"}`},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := bundle(c.text, c.refs)
			if err != nil {
				t.Fatal(err)
			}
			s, err := Compile("s", 1, []byte(text))
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			for doc, valid := range map[string]bool{c.good: true, c.bad: false} {
				v, err := schemadoc.Decode([]byte(doc))
				if err != nil {
					t.Fatal(err)
				}
				if r := s.Library.Validate(v); (r == nil) != valid {
					t.Errorf("%s: %v\n%s", doc, r, text)
				}
			}
			for _, p := range []compat.Policy{compat.PolicyStrict, compat.PolicyAdditive} {
				if found, err := compat.Backward(p, []byte(text), []byte(text)); err != nil || len(compat.Breaking(found)) > 0 {
					t.Errorf("not compatible with itself: %v (%v)\n%s", found, err, text)
				}
			}
		})
	}
}

// TestRegistry_NothingIsFetchedForAReference holds a server that nobody may ask.
func TestRegistry_NothingIsFetchedForAReference(t *testing.T) {
	trap := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("fetched: %s", r.URL)
	}))
	defer trap.Close()
	_, url := scratch(t)
	to := fmt.Sprintf("%s/a.json", trap.URL)
	run(t, url, []exchange{
		{"POST", "/subjects/a/versions", posted(t, fmt.Sprintf(`{"$id":%q,"type":"string"}`, to)), 200, `"version":1`},
		{"POST", "/subjects/s/versions", posted(t, fmt.Sprintf(`{"$ref":%q}`, to)), 422, `42201`},
		{"POST", "/subjects/s/versions", posted(t, fmt.Sprintf(`{"$ref":%q}`, to), Reference{to, "a", 1}), 200,
			`"version":1`},
		{"POST", "/subjects/s/versions", posted(t, fmt.Sprintf(`{"$schema":%q}`, to)), 422, `42201`},
		{"POST", "/compatibility/subjects/s/versions/latest",
			posted(t, fmt.Sprintf(`{"allOf":[{"$ref":%q}]}`, strings.Replace(to, "a.json", "b.json", 1)), Reference{to, "a", 1}),
			422, `42201`},
	})
}
