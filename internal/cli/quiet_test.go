package cli

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// What logs on after a flush, as streams of a start that failed do, is heard, and
// is not told that its log is closed.
func TestQuiet_WhatLogsAfterAFlushIsHeard(t *testing.T) {
	from, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout := os.Stdout
	t.Cleanup(func() { os.Stdout = stdout })
	os.Stdout = to
	flush, err := quietStart()
	if err != nil {
		t.Fatal(err)
	}
	log := os.Stdout // as the engine keeps it
	write := func(text string) {
		t.Helper()
		if _, err := io.WriteString(log, text); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(text string) {
		t.Helper()
		got := make([]byte, len(text))
		if _, err := io.ReadFull(from, got); err != nil || string(got) != text {
			t.Fatalf("heard %q: %v", got, err)
		}
	}
	write("level=info msg=\"Input type x is now active\"\nlevel=error msg=one\nlevel=info msg=two")
	flush()
	if os.Stdout != to {
		t.Error("standard output is not what it was")
	}
	expect("level=error msg=one\nlevel=info msg=two")
	write("level=warning msg=late\n")
	expect("level=warning msg=late\n")
}

func TestQuiet_LeavesOutWhatSaysNothing(t *testing.T) {
	idle := `time="2026-11-27T09:38:15Z" level=info msg="Input type redpanda is now active" @service=weir label=log path=root.input
{"@service":"weir","label":"","level":"info","msg":"Output type kafka_franz is now active","path":"root.output"}
time="2026-11-27T09:38:55Z" level=warning msg="Kafka broker read failed" @service=weir addr="127.0.0.1:1" err="context canceled" request=Fetch
{"@service":"weir","err":"context canceled","label":"log","level":"warning","msg":"Kafka broker read failed","request":"Fetch"}
`
	kept := `level=warning msg="Kafka broker read failed" @service=weir addr="127.0.0.1:1" err=EOF request=Fetch
level=info msg="taking events at http://127.0.0.1:8080/v1/events" @service=weir
level=error msg="a mapping says that Input type x is now active"
without an end`
	var out strings.Builder
	quieten(&out, strings.NewReader(idle+kept), idleLines(), func() {})
	if out.String() != kept {
		t.Errorf("left is\n%s", out.String())
	}
}

// What a look-up asks with, and what it is answered, may be a person's: of what the engine
// says of requests that fail, in both formats of the log, neither is kept.
func TestQuiet_LeavesOutKeysOfRequests(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/away" {
			http.Redirect(w, r, "http://127.0.0.1:1/person-17", http.StatusFound)
			return
		}
		http.Error(w, `{"mail": "person-17@b.c"}`, http.StatusInternalServerError)
	}))
	defer server.Close()
	for _, format := range []string{"json", "logfmt"} {
		for url, kind := range map[string]string{
			"http://127.0.0.1:1/v1/${! content() }":                              "connection refused",
			"http://me:person-17@127.0.0.1:1/v1?key=person-17&of=${! content()}": "connection refused",
			server.URL + "/v1/${! content() }?a=1&b=<2>":                         "unexpected response code (500)",
			server.URL + "/away":                                                 "connection refused",
			"http://127.0.0.1:1/%zz${! content() }":                              "for a reason that is left out",
		} {
			said := filepath.Join(t.TempDir(), "log")
			built := service.NewStreamBuilder()
			if err := errors.Join(
				built.SetLoggerYAML("{ level: ERROR, format: "+format+", file: { path: '"+said+"' } }"),
				built.AddInputYAML(`generate: { count: 1, mapping: 'root = "person-17"' }`),
				built.AddProcessorYAML("http: { url: '"+url+"', retries: 0, timeout: 5s, verb: GET }"),
				built.AddOutputYAML("drop: {}")); err != nil {
				t.Fatal(err)
			}
			stream, err := built.Build()
			if err != nil {
				t.Fatal(err)
			}
			if err := stream.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			raw, err := os.ReadFile(said)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(raw, []byte("person-17")) {
				t.Errorf("%s, %s: the engine says %q: nothing to leave out", format, url, raw)
			}
			var out strings.Builder
			quieten(&out, bytes.NewReader(raw), idleLines(), func() {})
			if got := out.String(); strings.Contains(got, "person") || !strings.Contains(got, kind) {
				t.Errorf("%s, %s: the log says %s", format, url, got)
			}
		}
	}
}
