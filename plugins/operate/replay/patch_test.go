package replay

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// TestMain is a worker where a test starts one: it starts this program again.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == WorkerVerb {
		if err := PatchWorker(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// narrow limits let a test that breaks them end soon.
func narrow() patchLimits {
	return patchLimits{Time: 2 * time.Second, Memory: 512 << 20, Size: 1 << 20}
}

func patching(t *testing.T, text string, limits patchLimits) *patcher {
	t.Helper()
	if err := checkPatch(text); err != nil {
		t.Fatal(err)
	}
	p := newPatcher(t.Context(), text, limits)
	t.Cleanup(p.close)
	return p
}

func TestPatch_ChangesWhatItAssigns(t *testing.T) {
	p := patching(t, `root.metrics.cpu_temp = this.metrics.cpu_temp.number()`, shippedLimits())
	for range 3 {
		got, ok, err := p.apply([]byte(`{"event_id":"e","metrics":{"cpu_temp":"62.5","x":1}}`))
		if want := `{"event_id":"e","metrics":{"cpu_temp":62.5,"x":1}}`; err != nil || !ok || string(got) != want {
			t.Fatalf("%s %v %v", got, ok, err)
		}
		if _, _, err := p.apply([]byte(`{"metrics":{"cpu_temp":"hot"}}`)); err == nil || p.fatal(err) {
			t.Fatalf("hot is no number: %v", err)
		}
	}
	if _, ok, err := patching(t, `root = deleted()`, shippedLimits()).apply([]byte(`{}`)); ok || err != nil {
		t.Fatalf("an event that is deleted: %v %v", ok, err)
	}
	if got, ok, err := patching(t, "", shippedLimits()).apply([]byte("no JSON")); !ok || err != nil ||
		string(got) != "no JSON" {
		t.Fatalf("without a patch: %q %v %v", got, ok, err)
	}
}

// What reads files or the environment, and what makes much of nothing, does not
// parse; parsing runs none of it.
func TestPatch_HasNoGenerators(t *testing.T) {
	began := time.Now()
	for _, text := range []string{
		`root = env("HOME")`, `root = file("/etc/passwd")`, `import "/etc/passwd"`, `root = now(`,
		`root = range(0, 100000000)`, `root = "x".repeat(1000000000)`, `root = bytes(1000000000)`,
		`root = nanoid(1000000000)`,
		`root = this.json_schema("{\"$ref\":\"http://127.0.0.1:1/\"}")`,
		`root = this.x.bloblang("root = range(0, 100000000)")`,
		`root = content().decompress("gzip")`, strings.Repeat("x", maxPatch+1),
	} {
		if err := checkPatch(text); err == nil || !strings.Contains(err.Error(), "patch") {
			t.Errorf("accepted, or not named a patch: %.60s: %v", text, err)
		}
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("parsing took %s", took)
	}
}

// bombs parse, and would take hours or all memory.
func bombs() map[string]string {
	var lists, words strings.Builder
	for i := range 60 {
		fmt.Fprintf(&lists, "let a%d = [ $a%d, $a%d ]\n", i+1, i, i)
		fmt.Fprintf(&words, "let a%d = $a%d + $a%d\n", i+1, i, i)
	}
	return map[string]string{
		"doubled lists":  "let a0 = this\n" + lists.String() + "root.x = $a60\n",
		"doubled words":  "let a0 = content().string()\n" + words.String() + "root.x = $a60\n",
		"loops in loops": `root.x = this.n.map_each(a -> this.n.map_each(b -> this.n.map_each(c -> this.n.map_each(d -> this.n.map_each(e -> this.n.sum()))))).length()`,
		"maps that fork": "map f {\n  root = [ this.apply(\"f\"), this.apply(\"f\") ]\n}\nroot.x = this.apply(\"f\")\n",
	}
}

func TestPatch_IsEndedWhenItTakesTooMuch(t *testing.T) {
	event := []byte(`{"n":[` + strings.Repeat("1,", 999) + `1]}`)
	for name, text := range bombs() {
		t.Run(name, func(t *testing.T) {
			p := patching(t, text, narrow())
			began := time.Now()
			_, ok, err := p.apply(event)
			t.Logf("after %s: %v", time.Since(began).Round(time.Millisecond), err)
			if err == nil || ok || !strings.HasPrefix(err.Error(), "patching: ") || p.fatal(err) {
				t.Errorf("got %v, want the reason", err)
			}
		})
	}
}

// One event that is too much is refused; a patch that always is ends the job.
func TestPatch_ThatIsAlwaysTooMuchEndsTheJob(t *testing.T) {
	var text strings.Builder
	text.WriteString("let a0 = this.x\n")
	for i := range 60 {
		fmt.Fprintf(&text, "let a%d = $a%d + $a%d\n", i+1, i, i)
	}
	p := patching(t, text.String()+"root.y = $a60\n", narrow())
	for i := range breachesMost {
		if got, ok, err := p.apply([]byte(`{"x":""}`)); err != nil || !ok || string(got) != `{"x":"","y":""}` {
			t.Fatalf("after %d breaches: %s %v", i, got, err)
		}
		_, _, err := p.apply([]byte(`{"x":"x"}`))
		if last := i == breachesMost-1; err == nil || p.fatal(err) != last || errors.Is(err, errPatch) != last {
			t.Fatalf("breach %d: %v", i+1, err)
		}
	}
}

func TestPatch_MakesNoEventLargerThanTheLogTakes(t *testing.T) {
	p := patching(t, `root.x = this.x + this.x + this.x`, narrow())
	_, ok, err := p.apply([]byte(`{"x":"` + strings.Repeat("x", 600<<10) + `"}`))
	if err == nil || ok || p.fatal(err) || !strings.Contains(err.Error(), "at most") {
		t.Errorf("%v", err)
	}
}

func TestPatch_EndsWithItsJob(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p := newPatcher(ctx, bombs()["loops in loops"], patchLimits{Time: time.Hour, Memory: 1 << 30, Size: 1})
	time.AfterFunc(500*time.Millisecond, cancel)
	_, _, err := p.apply([]byte(`{"n":[` + strings.Repeat("1,", 999) + `1]}`))
	if !errors.Is(err, context.Canceled) || !p.fatal(err) {
		t.Errorf("%v", err)
	}
}

// A worker sees no environment.
func TestPatch_RunsWithoutTheEnvironment(t *testing.T) {
	t.Setenv("WEIR_SECRET", "x")
	p, err := startPatch(t.Context(), "root = this", shippedLimits())
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.cmd.Process.Pid)); err == nil &&
		strings.Contains(string(raw), "WEIR") {
		t.Errorf("it sees %q", raw)
	}
}

// A job whose patch was accepted by an older weir fails with the reason, once.
func TestRedrive_WithAPatchThatIsRefusedFails(t *testing.T) {
	w := newWorld(t)
	w.deadLetters(10)
	w.stream("", nil)
	now := time.Now()
	j, err := w.jobs.Create(t.Context(), Spec{Mode: Redrive, To: &now, Reason: "test", Patch: `root = range(0, 5)`}, "", "")
	if err != nil {
		t.Fatal(err)
	}
	ended := w.until(j.ID, ended)
	if ended.State != Failed || !strings.Contains(ended.Error, "range") || len(w.got) > 0 {
		t.Errorf("%s %q, published %d", ended.State, ended.Error, len(w.got))
	}
}
