package scenarios

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A run that is killed between two blocks shows no rows. The next run resumes after the last block, and its sinks
// equal, byte for byte, those of an uninterrupted run.
func TestETL_AKilledRunGoesOnAtItsLastBlock(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	const rows = 600
	var file bytes.Buffer
	for i := range rows {
		fmt.Fprintf(&file, "{\"id\": %d, \"name\": \"row %d\"}\n", i, i)
	}
	s.write("in.ndjson", file.String())
	pipeline := func(name string) {
		s.write(name+".json", fmt.Sprintf(`{"name": %q, "block": 1,
			"source": {"type": "ndjson", "path": "in.ndjson", "columns": [{"name": "id", "type": "int64"}, {"name": "name", "type": "text"}]},
			"steps": [{"filter": "this.id %% 2 == 0"}],
			"sinks": [{"format": "parquet", "url": "file://out", "object": "%[1]s.parquet"},
				{"format": "csv", "url": "file://out", "object": "%[1]s.csv"}]}`, name))
	}
	pipeline("killed")
	killed := false
	for range 5 { // on a fast machine the run may end before it is killed
		cmd := exec.Command(s.bin, "etl", "run", "killed.json")
		cmd.Dir = s.dir
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		progress := filepath.Join(s.dir, "data/etl/killed/progress.json")
		for waiting := true; waiting; {
			select {
			case <-ended:
				waiting = false
			case <-time.After(time.Millisecond):
				if raw, err := os.ReadFile(progress); err == nil && bytes.Contains(raw, []byte(`"position": "`)) {
					_ = cmd.Process.Kill()
					<-ended
					waiting = false
				}
			}
		}
		raw, err := os.ReadFile(progress)
		if killed = err == nil && bytes.Contains(raw, []byte(`"done": false`)); killed {
			break
		}
		for _, made := range []string{"data", "out"} {
			if err := os.RemoveAll(filepath.Join(s.dir, made)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !killed {
		t.Fatal("no run was killed before its end")
	}
	if found, _ := filepath.Glob(filepath.Join(s.dir, "out/killed.*")); len(found) > 0 {
		t.Errorf("a run that was killed shows %v", found)
	}
	again := exec.Command(s.bin, "etl", "run", "killed.json", "--json")
	again.Dir = s.dir
	var log bytes.Buffer
	again.Stderr = &log
	out, err := again.Output()
	said := log.String()
	if err != nil || !strings.Contains(said, "going on with run") {
		t.Fatalf("%v: %s\n%s", err, said, out)
	}
	var report struct {
		Counts struct{ Read, Filtered, Written int }
	}
	if err := json.Unmarshal(out, &report); err != nil || report.Counts.Read != rows || report.Counts.Filtered != rows/2 ||
		report.Counts.Written != rows/2 {
		t.Errorf("%v: %s", err, out)
	}
	s.write("whole.json", strings.ReplaceAll(string(s.read("killed.json")), "killed", "whole"))
	s.write("whole.json", strings.Replace(string(s.read("whole.json")), `"block": 1`, `"block": 7000`, 1))
	for _, args := range [][]string{{"run", "whole.json"}, {"audit", "whole.json"}, {"audit", "killed.json"}} {
		cmd := exec.Command(s.bin, append([]string{"etl"}, args...)...)
		cmd.Dir = s.dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("weir etl %v: %v\n%s", args, err, out)
		}
	}
	for _, ext := range []string{".parquet", ".csv"} {
		if !bytes.Equal(s.read("out/killed"+ext), s.read("out/whole"+ext)) {
			t.Errorf("%s differs from that of a run that nobody killed", ext)
		}
	}
}

func (s *system) read(name string) []byte {
	s.t.Helper()
	raw, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		s.t.Fatal(err)
	}
	return raw
}

// Each command of `weir etl` ends with the exit code of the table in docs/commands.md.
func TestETL_CommandsEndAsTheTableSays(t *testing.T) {
	s := newSystem(t)
	s.write("in.csv", "id\n1\nx\n")
	const right = `{"name": "a", "source": {"type": "csv", "path": "in.csv", "columns": [{"name": "id", "type": "int64"}]},
		"sinks": [{"url": "file://out", "object": "a.csv", "format": "csv"}]}`
	s.write("right.json", right)
	s.write("twice.json", strings.Replace(right, `"name": "a"`, `"name": "a", "name": "b"`, 1))
	s.write("away.json", `{"name": "away", "source": {"type": "postgres", "host": "127.0.0.1", "port": 1, "database": "d",
		"sslmode": "disable", "user": "u", "password": {"$file": "none"}, "table": "t"},
		"sinks": [{"url": "file://out", "object": "a.csv", "format": "csv"}]}`)
	s.write("literal.json", strings.Replace(string(s.read("away.json")), `{"$file": "none"}`, `"s3cret"`, 1))
	tested := strings.TrimSuffix(right, "}") + `, "tests": [{"name": "one", "rows": [{"id": 1}], "expect": {"rows": [{"id": 1}]}}]}`
	s.write("passes.json", tested)
	s.write("differs.json", strings.Replace(tested, `"expect": {"rows": [{"id": 1}`, `"expect": {"rows": [{"id": 2}`, 1))
	for _, c := range []struct {
		code int
		says string
		args []string
	}{
		{0, "passes.json: one: ok", []string{"test", "passes.json"}}, {1, `+ {"id":1}`, []string{"test", "differs.json"}},
		{1, "1 of 2 tests failed", []string{"test", "passes.json", "differs.json"}},
		{1, "it has no tests", []string{"test", "right.json"}}, {2, "none.json", []string{"test", "none.json"}},
		{0, "pipeline a is right", []string{"lint", "right.json"}},
		{1, "/name: the name stands twice", []string{"lint", "twice.json"}},
		{1, "/source/password: a secret is not written", []string{"lint", "literal.json"}},
		{2, "none.json", []string{"lint", "none.json"}},
		{0, "id int64", []string{"plan", "right.json"}},
		{0, "  of source.id", []string{"plan", "right.json", "--graph"}},
		{0, `"column": "id"`, []string{"plan", "--graph", "--json", "right.json"}},
		{0, "s0c0 --> to0", []string{"plan", "right.json", "--graph", "--mermaid"}},
		{2, "either", []string{"plan", "right.json", "--graph", "--mermaid", "--json"}},
		{2, "--graph", []string{"plan", "right.json", "--mermaid"}},
		{3, "reading a secret", []string{"plan", "away.json"}},
		{1, `row 2: reading the source: column "id"`, []string{"run", "right.json"}}, {2, "missing", []string{"run"}},
		{2, "there is no such run", []string{"audit", "right.json"}}, {0, "$defs", []string{"schema"}},
		{2, "no command", []string{"bogus"}},
	} {
		cmd := exec.Command(s.bin, append([]string{"etl"}, c.args...)...)
		cmd.Dir = s.dir
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != c.code || !strings.Contains(string(out), c.says) ||
			strings.Contains(string(out), "s3cret") {
			t.Errorf("weir etl %v ends with %d, want %d and %q:\n%s", c.args, cmd.ProcessState.ExitCode(), c.code, c.says, out)
		}
	}
}

// A stream that is killed at any moment, between its rows, its sinks and its account, brings each record once into
// each sink and counts it once. WEIR_TORTURE_KILLS is the number of kills.
func TestETL_TortureOfAStreamBringsEachRecordOnce(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	kills, seed := fromEnv(t, "WEIR_TORTURE_KILLS", 3), fromEnv(t, "WEIR_TORTURE_SEED", time.Now().UnixNano()%1e9)
	t.Logf("%d kills, WEIR_TORTURE_SEED=%d", kills, seed)
	chance := rand.New(rand.NewPCG(uint64(seed), 0))
	log, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "orders"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(log.Close)
	client, err := kgo.NewClient(kgo.SeedBrokers(log.ListenAddrs()...), kgo.DefaultProduceTopic("orders"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	written := 0
	produce := func(n int) {
		var all []*kgo.Record
		for range n {
			all = append(all, &kgo.Record{Key: fmt.Append(nil, written), Value: fmt.Appendf(nil, `{"id": %d}`, written)})
			written++
		}
		if err := client.ProduceSync(t.Context(), all...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	s.write("stream.json", fmt.Sprintf(`{"name": "stream", "mode": "stream", "every": "10ms", "block": 7, "source": {"type": "kafka",
		"brokers": [%q], "topic": "orders", "columns": [{"name": "id", "type": "int64"}]},
		"sinks": [{"format": "csv", "url": "file://out", "object": "orders"},
			{"format": "delta", "url": "file://out", "table": "t", "mode": "append"}]}`, log.ListenAddrs()[0]))
	s.write("back.json", `{"name": "back", "source": {"type": "delta", "url": "file://out", "table": "t"},
		"sinks": [{"format": "csv", "url": "file://out", "object": "back.csv"}]}`)
	manifests := func() int {
		found, _ := filepath.Glob(filepath.Join(s.dir, "out/orders/_manifest/*.json"))
		return len(found)
	}
	for range kills {
		produce(60)
		cmd := exec.Command(s.bin, "etl", "run", "stream.json")
		cmd.Dir = s.dir
		var said output
		cmd.Stderr = &said
		before := manifests()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		deadline := time.Now().Add(3 * time.Minute)
		for ; manifests() == before; time.Sleep(2 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("after three minutes no batch of the stream came: %s", said.String())
			}
		}
		<-time.After(time.Duration(chance.IntN(30)) * time.Millisecond) // a random moment
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err, said.String())
		}
		_ = cmd.Wait()
	}
	produce(10)
	s.etl("run", "stream.json", "--until-end")
	report := s.etl("audit", "stream.json")
	if !strings.Contains(report, fmt.Sprintf(" %d read,", written)) ||
		!strings.Contains(report, "every row is accounted for") {
		t.Error(report)
	}
	s.etl("run", "back.json")
	found, _ := filepath.Glob(filepath.Join(s.dir, "out/orders/*.csv"))
	folder := map[string]int{}
	for _, name := range found {
		for _, line := range strings.Fields(string(s.read(strings.TrimPrefix(name, s.dir+"/"))))[1:] {
			folder[line]++
		}
	}
	table := map[string]int{}
	for _, line := range strings.Fields(string(s.read("out/back.csv")))[1:] {
		table[line]++
	}
	for where, ids := range map[string]map[string]int{"the folder": folder, "the table": table} {
		for id := range written {
			if n := ids[strconv.Itoa(id)]; n != 1 {
				t.Errorf("%s has record %d %d times", where, id, n)
			}
		}
		if len(ids) != written {
			t.Errorf("%s has %d records, want %d", where, len(ids), written)
		}
	}
}

// A compaction that is killed at any moment leaves each sink either as it was or compacted, with each record once. A
// later compaction removes what the killed ones left behind.
func TestETL_AKilledCompactionLeavesEachRecordOnce(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	log, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(log.Close)
	client, err := kgo.NewClient(kgo.SeedBrokers(log.ListenAddrs()...), kgo.DefaultProduceTopic("orders"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	const records = 300
	var batch []*kgo.Record
	for i := range records {
		batch = append(batch, &kgo.Record{Value: fmt.Appendf(nil, `{"id": %d}`, i)})
	}
	if err := client.ProduceSync(t.Context(), batch...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	s.write("stream.json", fmt.Sprintf(`{"name": "stream", "mode": "stream", "every": "10ms", "block": 5, "source": {"type": "kafka",
		"brokers": [%q], "topic": "orders", "columns": [{"name": "id", "type": "int64"}]},
		"sinks": [{"format": "csv", "url": "file://out", "object": "orders"},
			{"format": "delta", "url": "file://out", "table": "t", "mode": "append"}]}`, log.ListenAddrs()[0]))
	s.etl("run", "stream.json", "--until-end")
	found := func(pattern string) []string {
		all, err := filepath.Glob(filepath.Join(s.dir, "out", pattern))
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	for range fromEnv(t, "WEIR_TORTURE_KILLS", 3) {
		before := len(found("orders/*.csv")) + len(found("t/*.parquet"))
		cmd := exec.Command(s.bin, "etl", "compact", "stream.json", "--least", "2")
		cmd.Dir = s.dir
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		for waiting := true; waiting && len(found("orders/*.csv"))+len(found("t/*.parquet")) == before; {
			select {
			case <-ended: // nothing was left to compact
				waiting = false
			case <-time.After(time.Millisecond):
			}
		}
		<-time.After(time.Duration(rand.IntN(20)) * time.Millisecond) // a random moment
		_ = cmd.Process.Kill()
		<-ended
		s.sameFolder("out/orders", records)
		if report := s.etl("audit", "stream.json"); !strings.Contains(report, "every row is accounted for") {
			t.Error(report)
		}
	}
	s.etl("compact", "stream.json", "--least", "2")
	s.sameFolder("out/orders", records)
	if n := len(found("orders/*-compacted-*.csv")); n != 1 {
		t.Errorf("%d compacted files lie there, and one is named", n)
	}
	s.write("back.json", `{"name": "back", "source": {"type": "delta", "url": "file://out", "table": "t"},
		"steps": [{"unique": {"by": ["id"]}}, {"check": {"min_rows": 300, "max_rows": 300}}],
		"sinks": [{"format": "csv", "url": "file://out", "object": "back.csv"}]}`)
	s.etl("run", "back.json")
}

// sameFolder fails unless the files that the manifests of a stream's folder name hold each record once.
func (s *system) sameFolder(folder string, records int) {
	s.t.Helper()
	type manifest struct {
		Compaction, Number int
		Files              []struct{ Name string }
	}
	var batches []manifest
	var newest manifest
	names, _ := filepath.Glob(filepath.Join(s.dir, folder, "_manifest/*.json"))
	for _, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			s.t.Fatal(err)
		}
		var m manifest
		if err := json.Unmarshal(raw, &m); err != nil {
			s.t.Fatal(err)
		}
		if m.Compaction == 0 {
			batches = append(batches, m)
		} else if m.Compaction > newest.Compaction {
			newest = m
		}
	}
	seen := map[string]int{}
	for _, m := range append(batches, newest) {
		if m.Compaction == 0 && m.Number <= newest.Number {
			continue
		}
		for _, file := range m.Files {
			for _, line := range strings.Fields(string(s.read(filepath.Join(folder, file.Name))))[1:] {
				seen[line]++
			}
		}
	}
	for id := range records {
		if n := seen[strconv.Itoa(id)]; n != 1 {
			s.t.Fatalf("record %d is there %d times", id, n)
		}
	}
}

// etl runs a `weir etl` command and returns its output.
func (s *system) etl(args ...string) string {
	s.t.Helper()
	cmd := exec.Command(s.bin, append([]string{"etl"}, args...)...)
	cmd.Dir = s.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("weir etl %v: %v\n%s", args, err, out)
	}
	return string(out)
}
