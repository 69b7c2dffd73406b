package cli

import (
	"io"
	"os"
	"strings"
	"testing"
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

// What a look-up asks with, and what it is answered, may be a person's.
func TestQuiet_LeavesOutKeysOfRequests(t *testing.T) {
	for said, kept := range map[string]string{
		`level=error msg="HTTP request to 'http://p:8000/v1/${! content() }' failed: Get \"http://p:8000/v1/203.0.113.12?a=b%22\": dial tcp: refused" @service=weir`: `level=error msg="HTTP request to 'http://p:8000/v1/${! content() }' failed: Get of its URL: dial tcp: refused" @service=weir`,
		`{"level":"error","msg":"HTTP request to 'http://me:secret@p/' failed: Post \"http://me:***@p/\": EOF","path":"a"}`:                                          `{"level":"error","msg":"HTTP request to 'http://me:…@p/' failed: Post of its URL: EOF","path":"a"}`,
		`level=error msg="HTTP parallel request to 'http://p' failed: HTTP request returned unexpected response code (500): 500, Error: {\"mail\":\"a@b.c\"}" a=b`:   `level=error msg="HTTP parallel request to 'http://p' failed: HTTP request returned unexpected response code (500): 500, Error: left out, of the source" a=b`,
		`level=error msg="Get \"http://p\": EOF"`: `level=error msg="Get \"http://p\": EOF"`,
	} {
		var out strings.Builder
		quieten(&out, strings.NewReader(said+"\n"), idleLines(), func() {})
		if got := out.String(); got != kept+"\n" {
			t.Errorf("%s\nbecame %snot %s", said, got, kept)
		}
	}
}
