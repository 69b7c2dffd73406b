package cli

import (
	"strings"
	"testing"
)

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
	quieten(&out, strings.NewReader(idle+kept), idleLines())
	if out.String() != kept {
		t.Errorf("left is\n%s", out.String())
	}
}
