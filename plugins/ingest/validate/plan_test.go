package validate

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v5"

	"weir/internal/platform/rawjson"
	"weir/internal/platform/schemadoc"
	"weir/tests/schemagen"
)

// both compiles a schema; ok is false when it does not compile or has no plan.
func both(schema []byte) (lib *jsonschema.Schema, root *node, ok bool) {
	compiled, err := schemadoc.Compile(schema)
	if err != nil {
		return nil, nil, false
	}
	root, ok = planAny(compiled.Schema, true)
	return compiled.Schema, root, ok
}

// differ checks one pair and returns what each says; ok is false when the
// document is not JSON.
func differ(t *testing.T, schema, doc []byte, lib *jsonschema.Schema, root *node) (plan, library, ok bool) {
	t.Helper()
	strict := rawjson.Document(doc) == nil
	var w walk
	plan = w.document(doc, root)
	if plan && !strict {
		t.Fatalf("schema %s\naccepts %q, which is not JSON", schema, doc)
	}
	if !strict {
		return false, false, false
	}
	v, err := schemadoc.Decode(doc)
	if err != nil {
		t.Fatalf("%q: %v", doc, err)
	}
	err = lib.Validate(v)
	if _, loops := err.(jsonschema.InfiniteLoopError); loops {
		return false, false, false
	}
	if library = err == nil; plan && !library {
		t.Fatalf("schema %s\nthe plan accepts %s\nthe library says %#v", schema, doc, err)
	}
	return plan, library, true
}

func TestValidate_APlanAcceptsOnlyWhatTheLibraryAccepts(t *testing.T) {
	g := schemagen.Generator{Rand: rand.New(rand.NewPCG(7, 7))}
	pairs, valid, decided := 0, 0, 0
	for range 2_000 {
		s := g.Schema(3)
		if m, ok := s.(map[string]any); ok {
			m["$defs"] = map[string]any{"x": g.Schema(2), "y": g.Schema(1)}
		}
		schema, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		lib, root, ok := both(schema)
		for n := 0; ok && n < 30; n++ {
			doc, err := json.Marshal(g.Document(3))
			if err != nil {
				t.Fatal(err)
			}
			plan, library, ok := differ(t, schema, doc, lib, root)
			if !ok {
				continue
			}
			pairs++
			if library {
				valid++
			}
			if plan {
				decided++
			}
		}
	}
	t.Logf("%d pairs, %d valid, the plans decided %d of them", pairs, valid, decided)
	if pairs < 10_000 || valid < 2_000 || decided < valid*9/10 {
		t.Errorf("%d pairs, %d valid, %d decided: too few to mean something", pairs, valid, decided)
	}
}

func FuzzPlanAgainstLibrary(f *testing.F) {
	g := schemagen.Generator{Rand: rand.New(rand.NewPCG(1, 1))}
	for range 200 {
		schema, err := json.Marshal(g.Schema(2))
		if err != nil {
			f.Fatal(err)
		}
		doc, err := json.Marshal(g.Document(2))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(schema, doc)
	}
	f.Fuzz(func(t *testing.T, schema, doc []byte) {
		if len(schema) > 4096 || len(doc) > 4096 {
			return
		}
		if lib, root, ok := both(schema); ok {
			differ(t, schema, doc, lib, root)
		}
	})
}

// FuzzJudge holds the two ways of the judge to one verdict.
func FuzzJudge(f *testing.F) {
	set := shipped(f)
	for _, s := range []string{goodEvent, event1("1.0.0", `{"cpu_temp":1,"battery_voltage":2,"vibration":3}`),
		event1("3.0.0", `{"cpu_temp":1e1,"battery_voltage":2,"x,y":3}`),
		strings.Replace(goodEvent, `"rssi"`, `"r\u00e9ssi"`, 1), strings.Replace(goodEvent, `{`, `{"x":[{}],`, 1),
		strings.Replace(goodEvent, `.123Z`, `+05:30`, 1)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		j := newJudge(set)
		quick, ok := j.quick(raw)
		slow := newJudge(set).slow(raw)
		if slow.Rejection != nil && len(slow.Rejection.Errors) == 0 {
			t.Fatalf("%q: rejected without a reason", raw)
		}
		if !ok {
			return
		}
		if slow.Rejection != nil {
			t.Fatalf("%q: accepted by the plan, rejected by the library: %v", raw, slow.Rejection.Errors)
		}
		q := fmt.Sprint(quick.Schema.Name(), quick.Device, quick.Time.UTC()) + fmt.Sprintf("%q %q", quick.Metrics,
			quick.Fields)
		s := fmt.Sprint(slow.Schema.Name(), slow.Device, slow.Time.UTC()) + fmt.Sprintf("%q %q", slow.Metrics, slow.Fields)
		if q != s {
			t.Fatalf("%q:\nplan    %s\nlibrary %s", raw, q, s)
		}
	})
}
