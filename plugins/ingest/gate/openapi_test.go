package gate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v5"

	"weir/internal/control/apikey"
	"weir/internal/event"
	"weir/tests/integration/require"
)

// document is the part of the contract that replies are held against.
type document struct {
	Paths map[string]map[string]struct {
		Responses map[string]struct {
			Content map[string]json.RawMessage `json:"content"`
			Headers map[string]json.RawMessage `json:"headers"`
		} `json:"responses"`
	} `json:"paths"`
}

var readContract = sync.OnceValues(func() (document, error) {
	var d document
	err := json.Unmarshal(contract, &d)
	return d, err
})

// holds checks a reply against the contract. Every reply that a test of this
// package gets is checked.
func holds(method, path string, r reply) error {
	d, err := readContract()
	if err != nil {
		return err
	}
	operations, ok := d.Paths[path]
	if !ok {
		if r.status != http.StatusNotFound {
			return fmt.Errorf("an unknown path answers %d", r.status)
		}
		return nil
	}
	operation, ok := operations[strings.ToLower(method)]
	if !ok {
		for _, operation = range operations { // of another method: only its 405
			break
		}
		if r.status != http.StatusMethodNotAllowed && method != http.MethodHead {
			return fmt.Errorf("%s answers %d", method, r.status)
		}
	}
	response, ok := operation.Responses[fmt.Sprint(r.status)]
	if !ok {
		return fmt.Errorf("the contract has no %d", r.status)
	}
	contentType := r.header.Get("Content-Type")
	if response.Content[contentType] == nil {
		return fmt.Errorf("the contract has no %d with %q", r.status, contentType)
	}
	if (r.status == 429 || r.status == 503) && (r.header.Get("Retry-After") == "" ||
		r.header.Get("Retry-After")[0] == '0') {
		return fmt.Errorf("%d without Retry-After", r.status)
	}
	if method == http.MethodHead {
		return nil
	}
	pointer := fmt.Sprintf("contract.json#/paths/%s/%s/responses/%d/content/%s/schema", strings.ReplaceAll(path, "/",
		"~1"), operationOf(operations, method), r.status, strings.ReplaceAll(contentType, "/", "~1"))
	schema, err := compile(pointer)
	if err != nil {
		return err
	}
	var body any
	if err := json.Unmarshal([]byte(r.body), &body); err != nil {
		return err
	}
	return schema.Validate(body)
}

func operationOf[T any](operations map[string]T, method string) string {
	if _, ok := operations[strings.ToLower(method)]; ok {
		return strings.ToLower(method)
	}
	for name := range operations {
		return name
	}
	return ""
}

var compiled sync.Map // by pointer

func compile(pointer string) (*jsonschema.Schema, error) {
	if s, ok := compiled.Load(pointer); ok {
		return s.(*jsonschema.Schema), nil
	}
	c := jsonschema.NewCompiler()
	c.Draft = jsonschema.Draft2020
	if err := c.AddResource("contract.json", bytes.NewReader(contract)); err != nil {
		return nil, err
	}
	s, err := c.Compile(pointer)
	if err == nil {
		compiled.Store(pointer, s)
	}
	return s, err
}

func TestGate_ContractListsEveryCode(t *testing.T) {
	schema, err := compile("contract.json#/components/schemas/Verdict")
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range append(event.Codes(), "made_up") {
		raw := appendVerdict(nil, 0, nil, event.Reject(code, "/a", "b"))
		var v any
		if err := json.Unmarshal(raw, &v); err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(v); (err == nil) != (code != "made_up") {
			t.Errorf("%s: %v", code, err)
		}
	}
}

func TestGate_ContractIsServed(t *testing.T) {
	w := newWorld(t, "")
	if r := w.send("GET", "/openapi.json", "", nil, "X-API-Key", ""); r.status != 200 || r.body != string(contract) {
		t.Errorf("%d %.100s", r.status, r.body)
	}
	for _, path := range []string{"/openapi.json", "/healthz", "/ready", "/v1/events", "/nothing"} {
		for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"} {
			w.send(method, path, "", nil)
		}
	}
}

// Every endpoint that the gate has by the table of routes is in the contract,
// and is answered; and the contract has no other.
func TestContract_HasEveryEndpoint(t *testing.T) {
	d, err := readContract()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, "")
	known := 0
	for _, route := range apikey.Routes() {
		if route.Server != apikey.Gate || route.Method == "gRPC" {
			continue
		}
		known++
		if _, ok := d.Paths[route.Path][strings.ToLower(route.Method)]; !ok {
			t.Errorf("the contract lacks %s %s", route.Method, route.Path)
		}
		if r := w.send(route.Method, route.Path, "", nil); r.status == http.StatusNotFound ||
			r.status == http.StatusMethodNotAllowed {
			t.Errorf("%s %s: %d", route.Method, route.Path, r.status)
		}
	}
	operations := 0
	for _, of := range d.Paths {
		operations += len(of)
	}
	if operations != known {
		t.Errorf("the contract has %d operations, and the gate %d", operations, known)
	}
}

// schemathesis, from PyPI, drives the running gate by its contract.
func TestGate_SchemathesisFindsNothing(t *testing.T) {
	tool := os.Getenv("WEIR_TEST_SCHEMATHESIS")
	if tool == "" { // CI names it
		tool = "../../../.cache/venv/bin/schemathesis" // of the tests' Python environment
	}
	tool, err := filepath.Abs(tool)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath(tool); err != nil {
		require.Missing(t, "schemathesis is not installed: pip install schemathesis, and name it in "+
			"WEIR_TEST_SCHEMATHESIS: %v", err)
	}
	w := newWorld(t, "")
	here, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), tool, "--config-file", filepath.Join(here, "schemathesis.toml"), "run",
		w.url+"/openapi.json",
		"--max-examples", "200", "--header", "X-API-Key: "+w.key, "--no-color",
		// which metrics an event must have depends on the schema of its firmware
		"--exclude-checks", "positive_data_acceptance")
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "SCHEMATHESIS_HOOKS=ndjson", "PYTHONPATH="+here, "PYTHONDONTWRITEBYTECODE=1")
	out, err := cmd.CombinedOutput()
	if text := strings.ReplaceAll(string(out), w.key, "KEY"); err != nil || !strings.Contains(text, "passed") {
		t.Fatalf("%v\n%s", err, text)
	}
}
