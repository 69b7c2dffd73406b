package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/riferrei/srclient"
	"github.com/twmb/franz-go/pkg/sr"

	"weir/internal/platform/sqldb"
	"weir/schemas"
	"weir/tests/integration/require"
)

// stores are the SQL servers that the registry is tested on.
func stores(t *testing.T, run func(t *testing.T, db *sqldb.DB)) {
	t.Run("sqlite", func(t *testing.T) { run(t, openDB(t, "sqlite://"+filepath.Join(t.TempDir(), "control.db"))) })
	t.Run("postgres", func(t *testing.T) {
		db := openDB(t, require.Env(t, "WEIR_TEST_POSTGRES_URL"))
		for _, table := range []string{"weir_schema_version", "weir_schema_reference", "weir_schema_text",
			"weir_schema_setting", "weir_schema_consumer"} {
			if _, err := db.ExecContext(t.Context(), "DROP TABLE IF EXISTS "+table); err != nil {
				t.Fatal(err)
			}
		}
		_, _ = db.ExecContext(t.Context(), `DELETE FROM weir_migration WHERE room = 'schema'`) // absent on a fresh server
		run(t, db)
	})
}

func openDB(t testing.TB, url string) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// serve runs a registry's API under /registry, as it is mounted.
func serve(t testing.TB, db *sqldb.DB) (registry *Registry, url string) {
	t.Helper()
	r, err := Open(context.Background(), db)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.StripPrefix("/registry", r.Handler()))
	t.Cleanup(s.Close)
	return r, s.URL + "/registry"
}

func scratch(t testing.TB) (*Registry, string) {
	t.Helper()
	return serve(t, openDB(t, "sqlite://"+filepath.Join(t.TempDir(), "control.db")))
}

func jsonSchema(text string) sr.Schema { return sr.Schema{Schema: text, Type: sr.TypeJSON} }

func TestRegistry_FranzGoClientFindsItsAPI(t *testing.T) {
	stores(t, func(t *testing.T, db *sqldb.DB) {
		_, url := serve(t, db)
		cl, err := sr.NewClient(sr.URLs(url))
		if err != nil {
			t.Fatal(err)
		}
		ctx := t.Context()
		const subject = "a/b c" // clients escape it
		v1, err := cl.CreateSchema(ctx, subject, jsonSchema(`{"type":"object","properties":{"a":{"type":"number"}}}`))
		if err != nil || v1.Version != 1 || v1.ID == 0 || v1.Type != sr.TypeJSON {
			t.Fatalf("got %+v (%v)", v1, err)
		}
		again, err := cl.CreateSchema(ctx, subject, jsonSchema(`{"properties": {"a": {"type": "number"}}, "type": "object"}`))
		if err != nil || again.ID != v1.ID || again.Version != 1 {
			t.Errorf("registered again: %+v (%v)", again, err)
		}
		v2, err := cl.CreateSchema(ctx, subject, jsonSchema(`{"type":"object","properties":{"a":{"type":"number"},"b":{"type":"string"}}}`))
		if err != nil || v2.Version != 2 || v2.ID == v1.ID {
			t.Fatalf("got %+v (%v)", v2, err)
		}
		breaking := jsonSchema(`{"type":"object","properties":{"a":{"type":"string"}}}`)
		if _, err := cl.CreateSchema(ctx, subject, breaking); !is(err, 409) || !strings.Contains(err.Error(),
			"TYPE_CHANGED at #/properties/a") {
			t.Errorf("a breaking change: %v", err)
		}
		check, err := cl.CheckCompatibility(sr.WithParams(ctx, sr.Verbose), subject, -1, breaking)
		if err != nil || check.Is || !strings.Contains(strings.Join(check.Messages, "\n"),
			"PROPERTY_REMOVED_FROM_OPEN_CONTENT_MODEL at #/properties/b") {
			t.Errorf("check: %+v (%v)", check, err)
		}
		if check, err := cl.CheckCompatibility(ctx, subject, 1, jsonSchema(`{"type":"object"}`)); err != nil || check.Is {
			t.Errorf("check against version 1: %+v (%v)", check, err)
		}
		other, err := cl.CreateSchema(ctx, "other", v1.Schema)
		if err != nil || other.ID != v1.ID {
			t.Errorf("the same schema in another subject: %+v (%v)", other, err)
		}
		usages, err := cl.SchemaUsagesByID(ctx, v1.ID)
		if err != nil || len(usages) != 2 {
			t.Errorf("usages: %+v (%v)", usages, err)
		}
		if text, err := cl.SchemaTextByID(ctx, v1.ID); err != nil || text != v1.Schema.Schema {
			t.Errorf("text %q (%v)", text, err)
		}
		if text, err := cl.SchemaTextByVersion(ctx, subject, -1); err != nil || text != v2.Schema.Schema {
			t.Errorf("text of the latest %q (%v)", text, err)
		}
		if found, err := cl.LookupSchema(ctx, subject, v2.Schema); err != nil || found.Version != 2 {
			t.Errorf("look-up: %+v (%v)", found, err)
		}
		if _, err := cl.LookupSchema(ctx, subject, breaking); !is(err, 40403) {
			t.Errorf("look-up of an unknown schema: %v", err)
		}
		if subjects, err := cl.Subjects(ctx); err != nil || fmt.Sprint(subjects) != "[a/b c other telemetry]" &&
			!strings.Contains(fmt.Sprint(subjects), "telemetry") {
			t.Errorf("subjects %q (%v)", subjects, err)
		}
		if all, err := cl.Schemas(ctx, "telemetry"); err != nil || len(all) < 3 || all[2].Version != 3 {
			t.Errorf("seeded: %d (%v)", len(all), err)
		}
		if types, err := cl.SupportedTypes(ctx); err != nil || fmt.Sprint(types) != "[JSON]" {
			t.Errorf("types %v (%v)", types, err)
		}
		deleting(t, cl, subject)
	})
}

func is(err error, code int) bool {
	var e *sr.ResponseError
	return errors.As(err, &e) && e.ErrorCode == code
}

func deleting(t *testing.T, cl *sr.Client, subject string) {
	t.Helper()
	ctx := t.Context()
	if err := cl.DeleteSchema(ctx, subject, 2, sr.HardDelete); !is(err, 40407) {
		t.Errorf("deleting for good first: %v", err)
	}
	if err := cl.DeleteSchema(ctx, subject, 2, sr.SoftDelete); err != nil {
		t.Error(err)
	}
	if err := cl.DeleteSchema(ctx, subject, 2, sr.SoftDelete); !is(err, 40406) {
		t.Errorf("deleting twice: %v", err)
	}
	if _, err := cl.SchemaByVersion(ctx, subject, 2); !is(err, 40402) {
		t.Errorf("reading what was deleted: %v", err)
	}
	if v, err := cl.SchemaByVersion(sr.WithParams(ctx, sr.ShowDeleted), subject, 2); err != nil || v.Version != 2 {
		t.Errorf("reading what was deleted, on purpose: %+v (%v)", v, err)
	}
	if _, err := cl.DeleteSubject(ctx, subject, sr.HardDelete); !is(err, 40405) {
		t.Errorf("deleting a subject for good first: %v", err)
	}
	if versions, err := cl.DeleteSubject(ctx, subject, sr.SoftDelete); err != nil || fmt.Sprint(versions) != "[1]" {
		t.Errorf("deleted %v (%v)", versions, err)
	}
	if _, err := cl.DeleteSubject(ctx, subject, sr.SoftDelete); !is(err, 40404) {
		t.Errorf("deleting a subject twice: %v", err)
	}
	if versions, err := cl.DeleteSubject(ctx, subject, sr.HardDelete); err != nil || fmt.Sprint(versions) != "[1 2]" {
		t.Errorf("deleted for good %v (%v)", versions, err)
	}
	if _, err := cl.DeleteSubject(ctx, subject, sr.SoftDelete); !is(err, 40401) {
		t.Errorf("deleting a subject that is gone: %v", err)
	}
}

func TestRegistry_SettingsAreThoseOfTheSubjectOrTheServer(t *testing.T) {
	_, url := scratch(t)
	cl, err := sr.NewClient(sr.URLs(url))
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if c := cl.Compatibility(ctx)[0]; c.Err != nil || c.Level != sr.CompatBackward {
		t.Errorf("server: %+v", c)
	}
	if c := cl.Compatibility(ctx, "s")[0]; !is(c.Err, 40408) {
		t.Errorf("subject: %+v", c)
	}
	if c := cl.Compatibility(sr.WithParams(ctx, sr.DefaultToGlobal), "s")[0]; c.Err != nil ||
		c.Level != sr.CompatBackward {
		t.Errorf("subject or server: %+v", c)
	}
	if c := cl.SetCompatibility(ctx, sr.SetCompatibility{Level: sr.CompatFullTransitive}, "s")[0]; c.Err != nil ||
		c.Level != sr.CompatFullTransitive {
		t.Errorf("set: %+v", c)
	}
	if c := cl.Compatibility(ctx, "s")[0]; c.Level != sr.CompatFullTransitive {
		t.Errorf("subject: %+v", c)
	}
	if c := cl.ResetCompatibility(ctx, "s")[0]; c.Err != nil || c.Level != sr.CompatFullTransitive {
		t.Errorf("reset: %+v", c)
	}
	if m := cl.Mode(ctx)[0]; m.Err != nil || m.Mode != sr.ModeReadWrite {
		t.Errorf("mode: %+v", m)
	}
	if m := cl.Mode(ctx, "s")[0]; !is(m.Err, 40409) {
		t.Errorf("mode of a subject: %+v", m)
	}
	if m := cl.SetMode(ctx, sr.ModeReadOnly, "s")[0]; m.Err != nil || m.Mode != sr.ModeReadOnly {
		t.Errorf("set mode: %+v", m)
	}
	if _, err := cl.CreateSchema(ctx, "s", jsonSchema(`{}`)); !is(err, 42205) {
		t.Errorf("writing while read-only: %v", err)
	}
	if m := cl.SetMode(ctx, sr.ModeImport, "s")[0]; m.Err != nil {
		t.Errorf("import: %+v", m)
	}
	if v, err := cl.CreateSchemaWithIDAndVersion(ctx, "s", jsonSchema(`{"type":"null"}`), 4711, 7); err != nil ||
		v.ID != 4711 || v.Version != 7 {
		t.Errorf("imported %+v (%v)", v, err)
	}
	if m := cl.SetMode(ctx, sr.ModeImport)[0]; !is(m.Err, 42205) {
		t.Errorf("import over what is there: %+v", m)
	}
	if m := cl.ResetMode(ctx, "s")[0]; m.Err != nil || m.Mode != sr.ModeImport {
		t.Errorf("reset: %+v", m)
	}
}

// exchange is one request and what it must be answered with.
type exchange struct {
	method, path, body string
	status             int
	holds              string // in the answer
}

func run(t *testing.T, url string, exchanges []exchange) {
	t.Helper()
	for _, e := range exchanges {
		req, err := http.NewRequest(e.method, url+e.path, strings.NewReader(e.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", registryMediaType)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != e.status || !strings.Contains(string(raw), e.holds) || !json.Valid(raw) {
			t.Errorf("%s %s %s: %d %s, want %d with %s", e.method, e.path, e.body, res.StatusCode, raw, e.status, e.holds)
		}
		if got := res.Header.Get("Content-Type"); got != registryMediaType {
			t.Errorf("%s %s: content type %q", e.method, e.path, got)
		}
	}
}

func TestRegistry_ErrorsHaveTheNumbersThatClientsExpect(t *testing.T) {
	_, url := scratch(t)
	body := func(schema string) string {
		raw, err := json.Marshal(map[string]string{"schema": schema, "schemaType": "JSON"})
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	run(t, url, []exchange{
		{"GET", "/", "", 200, "{}"},
		{"GET", "/nothing", "", 404, `"error_code":404`},
		{"PATCH", "/subjects", "", 405, `"error_code":405`},
		{"GET", "/subjects/none/versions", "", 404, `"error_code":40401`},
		{"GET", "/subjects/none/versions/1", "", 404, `"error_code":40401`},
		{"GET", "/subjects/telemetry/versions/99", "", 404, `"error_code":40402`},
		{"GET", "/subjects/telemetry/versions/x", "", 422, `"error_code":42202`},
		{"GET", "/subjects/telemetry/versions/0", "", 422, `"error_code":42202`},
		{"GET", "/subjects/telemetry/versions/3/referencedby", "", 200, `[]`},
		{"GET", "/schemas/ids/9999", "", 404, `"error_code":40403`},
		{"GET", "/schemas/ids/x", "", 404, `"error_code":40403`},
		{"POST", "/subjects/s/versions", "{", 400, `"error_code":400`},
		{"POST", "/subjects/s/versions", `{"schema":"{}"}`, 422, `"error_code":42201`},
		{"POST", "/subjects/s/versions", `{"schema":"message X {}","schemaType":"PROTOBUF"}`, 422, `"error_code":42201`},
		{"POST", "/subjects/s/versions", body(`{"type":`), 422, `"error_code":42201`},
		{"POST", "/subjects/s/versions", body(`{"type":7}`), 422, `"error_code":42201`},
		{"POST", "/subjects/s/versions", body(`{"$ref":"http://127.0.0.1:1/x.json"}`), 422, `"error_code":42201`},
		{"POST", "/subjects/s/versions", body(`{"x-weir-firmware":"~banana"}`), 422, `not a version`},
		{"POST", "/subjects/s/versions", body(`{"x-weir-major":0}`), 422, `x-weir-major`},
		{"POST", "/subjects/s/versions", `{"schema":"{}","schemaType":"JSON","references":[{"name":"a","subject":"b","version":1}]}`, 422, `"error_code":42201`},
		{"POST", "/subjects/s/versions", body(`"` + strings.Repeat("x", submissionMax) + `"`), 422, `"error_code":42209`},
		{"POST", "/subjects/s/versions", `{"schema":"{}","schemaType":"JSON","id":5}`, 422, `"error_code":42205`},
		{"POST", "/subjects/none", body(`{}`), 404, `"error_code":40401`},
		{"POST", "/compatibility/subjects/none/versions/latest", body(`{}`), 200, `"is_compatible":true`},
		{"POST", "/compatibility/subjects/none/versions/1", body(`{}`), 404, `"error_code":40402`},
		{"POST", "/compatibility/subjects/telemetry/versions/latest", body(`{"type":7}`), 422, `"error_code":42201`},
		{"POST", "/compatibility/subjects/telemetry/versions/latest?verbose=true", body(`{"type":7}`), 200,
			`"is_compatible":false,"messages":["Invalid schema`},
		{"POST", "/subjects/s/versions", `{"schema":"{}","schemaType":"JSON","version":7}`, 422, `"error_code":42201`},
		{"POST", "/compatibility/subjects/telemetry/versions/77", body(`{}`), 404, `"error_code":40402`},
		{"POST", "/compatibility/subjects/none/versions", body(`{}`), 200, `"is_compatible":true`},
		{"PUT", "/config", `{"compatibility":"SIDEWAYS"}`, 422, `"error_code":42203`},
		{"PUT", "/config/s", `{"policy":"lazy"}`, 422, `"error_code":42203`},
		{"PUT", "/config/s", `{}`, 422, `"error_code":42203`},
		{"PUT", "/mode", `{"mode":"SLEEP"}`, 422, `"error_code":42204`},
		{"DELETE", "/config/s", ``, 404, `"error_code":40408`},
		{"DELETE", "/mode/s", ``, 404, `"error_code":40409`},
	})
}

// TestRegistry_ListsAndModesAreAsDocumented goes through what Confluent documents beside
// what its clients use.
func TestRegistry_ListsAndModesAreAsDocumented(t *testing.T) {
	_, url := scratch(t)
	of := func(n int) string { return fmt.Sprintf(`{"schema":"{\"title\":\"%d\"}","schemaType":"JSON"}`, n) }
	run(t, url, []exchange{
		{"POST", "/subjects/a/versions", of(1), 200, `"version":1`},
		{"POST", "/subjects/a/versions", of(2), 200, `"version":2`},
		{"POST", "/subjects/a/versions", of(3), 200, `"version":3`},
		{"POST", "/subjects/b/versions", of(1), 200, `"version":1`},
		{"GET", "/subjects?subjectPrefix=b", "", 200, `["b"]`},
		{"GET", "/subjects?offset=2&limit=1", "", 200, `["b"]`},
		{"GET", "/subjects/a/versions?offset=1&limit=1", "", 200, `[2]`},
		{"GET", "/subjects/a/versions?offset=9", "", 200, `[]`},
		{"GET", "/schemas?subjectPrefix=a&latestOnly=true", "", 200, `"version":3`},
		{"GET", "/schemas?subjectPrefix=a&limit=0", "", 200, `[]`},
		{"GET", "/schemas/ids/7/versions?subject=b", "", 200, `[{"subject":"b","version":1}]`},
		{"GET", "/schemas/ids/7/subjects?subject=none", "", 200, `[]`},
		{"GET", "/schemas/ids/7?fetchMaxId=true", "", 200, `"maxId":`},
		{"DELETE", "/subjects/a/versions/2", "", 200, `2`},
		{"GET", "/subjects/a/versions", "", 200, `[1,3]`},
		{"GET", "/subjects/a/versions?deleted=true", "", 200, `[1,2,3]`},
		{"GET", "/subjects/a/versions?deletedOnly=true", "", 200, `[2]`},
		{"PUT", "/mode/a", `{"mode":"READWRITE"}`, 200, `{"mode":"READWRITE"}`},
		{"PUT", "/mode", `{"mode":"READONLY"}`, 200, `{"mode":"READONLY"}`},
		{"POST", "/subjects/b/versions", of(5), 422, `42205`},
		{"POST", "/subjects/a/versions", of(5), 200, `"version":4`},
		{"PUT", "/mode", `{"mode":"READONLY_OVERRIDE"}`, 200, `{"mode":"READONLY_OVERRIDE"}`},
		{"POST", "/subjects/a/versions", of(6), 422, `42205`},
		{"DELETE", "/subjects/a", "", 422, `42205`},
		{"PUT", "/mode", `{"mode":"READWRITE"}`, 200, `{"mode":"READWRITE"}`},
		{"PUT", "/config/a", `{"compatibility":"NONE"}`, 200, `NONE`},
		{"DELETE", "/subjects/a", "", 200, `[1,3,4]`},
		{"GET", "/config/a", "", 200, `NONE`},
		{"DELETE", "/subjects/a?permanent=true", "", 200, `[1,2,3,4]`},
		{"GET", "/config/a", "", 404, `40408`},
		{"GET", "/mode/a", "", 404, `40409`},
	})
}

func TestRegistry_ThePolicyIsChosenBesideTheLevel(t *testing.T) {
	_, url := scratch(t)
	added := `{"schema":"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}}}","schemaType":"JSON"}`
	run(t, url, []exchange{
		{"GET", "/config", "", 200, `"compatibilityLevel":"BACKWARD","policy":"additive"`},
		{"POST", "/subjects/s/versions", `{"schema":"{\"type\":\"object\"}","schemaType":"JSON"}`, 200, `"version":1`},
		{"POST", "/compatibility/subjects/s/versions/latest", added, 200, `{"is_compatible":true}`},
		{"PUT", "/config/s", `{"compatibility":"BACKWARD","policy":"strict"}`, 200,
			`{"compatibility":"BACKWARD","policy":"strict"}`},
		{"POST", "/compatibility/subjects/s/versions/latest?verbose=true", added, 200,
			`OPTIONAL_PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL at #/properties/a`},
		{"POST", "/subjects/s/versions", added, 409, `"error_code":409`},
		{"GET", "/config/s", "", 200, `"policy":"strict"`},
		{"DELETE", "/config/s", "", 200, `"policy":"strict"`},
		{"PUT", "/config", `{"policy":"STRICT"}`, 200, `{"compatibility":"BACKWARD","policy":"strict"}`},
		{"POST", "/subjects/s/versions", added, 409, `"error_code":409`},
		{"PUT", "/config/s", `{"policy":"additive"}`, 200, `"policy":"additive"`},
		{"POST", "/subjects/s/versions", added, 200, `"version":2`},
		{"PUT", "/config/s", `{"compatibility":"none"}`, 200, `"compatibility":"NONE"`},
		{"POST", "/subjects/s/versions", `{"schema":"{\"type\":\"array\"}","schemaType":"JSON"}`, 200, `"version":3`},
	})
}

func TestRegistry_ABreakOnPurposeIsANewMajor(t *testing.T) {
	_, url := scratch(t)
	run(t, url, []exchange{
		{"POST", "/subjects/s/versions", `{"schema":"{\"type\":\"string\"}","schemaType":"JSON"}`, 200, `"version":1`},
		{"POST", "/subjects/s/versions", `{"schema":"{\"type\":\"number\"}","schemaType":"JSON"}`, 409,
			`raise x-weir-major above 1`},
		{"POST", "/subjects/s/versions", `{"schema":"{\"type\":\"integer\",\"x-weir-major\":2}","schemaType":"JSON"}`, 200,
			`"version":2`},
		{"POST", "/compatibility/subjects/s/versions/1?verbose=true",
			`{"schema":"{\"type\":\"number\",\"x-weir-major\":2}","schemaType":"JSON"}`, 200,
			`"is_compatible":true,"messages":["on purpose, by x-weir-major 2 after 1: TYPE_CHANGED`},
		{"POST", "/subjects/s/versions", `{"schema":"{\"type\":\"number\",\"x-weir-major\":2}","schemaType":"JSON"}`, 200,
			`"version":3`},
		{"POST", "/subjects/s/versions", `{"schema":"{\"type\":\"boolean\",\"x-weir-major\":2}","schemaType":"JSON"}`, 409,
			`TYPE_CHANGED`},
	})
}

func TestRegistry_AnotherGoClientFindsItsAPI(t *testing.T) {
	_, url := scratch(t)
	cl := srclient.NewSchemaRegistryClient(url)
	first, err := cl.CreateSchema("s", `{"type":"object","properties":{"a":{"type":"number"}}}`, srclient.Json)
	if err != nil || first.ID() == 0 {
		t.Fatalf("got %+v (%v)", first, err)
	}
	latest, err := cl.GetLatestSchema("telemetry")
	if err != nil || latest.Version() < 3 {
		t.Fatalf("got %+v (%v)", latest, err)
	}
	if s, err := cl.GetSchema(first.ID()); err != nil || s.Schema() != first.Schema() {
		t.Errorf("by id: %+v (%v)", s, err)
	}
	if ok, err := cl.IsSchemaCompatible("s", `{"type":"object","properties":{"a":{"type":"string"}}}`, "latest",
		srclient.Json); err != nil || ok {
		t.Errorf("compatible: %v (%v)", ok, err)
	}
	if s, err := cl.LookupSchema("s", first.Schema(), srclient.Json); err != nil || s.ID() != first.ID() {
		t.Errorf("look-up: %+v (%v)", s, err)
	}
	if l, err := cl.ChangeSubjectCompatibilityLevel("s", srclient.Full); err != nil || *l != srclient.Full {
		t.Errorf("level: %v (%v)", l, err)
	}
	if l, err := cl.GetCompatibilityLevel("s", true); err != nil || *l != srclient.Full {
		t.Errorf("level: %v (%v)", l, err)
	}
	if l, err := cl.GetGlobalCompatibilityLevel(); err != nil || *l != srclient.Backward {
		t.Errorf("server's level: %v (%v)", l, err)
	}
	if err := cl.DeleteSubject("s", true); err != nil {
		t.Error(err)
	}
	var e srclient.Error
	if _, err := cl.GetLatestSchema("s"); !errors.As(err, &e) || e.Code != 40401 {
		t.Errorf("after deleting: %v", err)
	}
}

// TestRegistry_ConfluentsPythonClientFindsItsAPI runs where a Python with the package
// confluent-kafka[schemaregistry] is named.
func TestRegistry_ConfluentsPythonClientFindsItsAPI(t *testing.T) {
	python := require.Env(t, "WEIR_TEST_CONFLUENT_PYTHON")
	_, url := scratch(t)
	out, err := exec.CommandContext(t.Context(), python, "testdata/confluent_client.py", url).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "all as expected") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestRegistry_RegisteringTogetherNumbersEachOnce(t *testing.T) {
	stores(t, func(t *testing.T, db *sqldb.DB) {
		r, _ := serve(t, db)
		var wg sync.WaitGroup
		for n := range 20 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				s := submission{SchemaType: "JSON", Schema: fmt.Sprintf(`{"title":"%d"}`, n/2)} // each twice
				if _, err := r.register(context.Background(), "s", s); err != nil {
					t.Error(err)
				}
			}()
		}
		wg.Wait()
		versions, err := versionsOf(t.Context(), db, "s", withDeleted)
		if err != nil || len(versions) != 10 || versions[9].Version != 10 {
			t.Errorf("%d versions (%v)", len(versions), err)
		}
	})
}

func TestRegistry_SeedsAreLaidOnce(t *testing.T) {
	db := openDB(t, "sqlite://"+filepath.Join(t.TempDir(), "control.db"))
	for range 2 {
		r, _ := serve(t, db)
		versions, err := versionsOf(t.Context(), r.store.db, "telemetry", withDeleted)
		if err != nil || len(versions) < 3 || versions[0].Version != 1 {
			t.Fatalf("%d versions (%v)", len(versions), err)
		}
	}
	if _, err := db.ExecContext(t.Context(), `UPDATE weir_schema_version SET deleted = 1 WHERE subject = 'telemetry' AND version = 1`); err != nil {
		t.Fatal(err)
	}
	if r, _ := serve(t, db); r != nil {
		versions, err := versionsOf(t.Context(), db, "telemetry", withoutDeleted)
		if err != nil || versions[0].Version != 2 {
			t.Errorf("what was deleted is back: %v (%v)", numbers(versions), err)
		}
	}
}

func readShipped(t testing.TB, version int) []byte {
	t.Helper()
	raw, err := fs.ReadFile(schemas.FS(), fmt.Sprintf("telemetry/v%d.json", version))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
