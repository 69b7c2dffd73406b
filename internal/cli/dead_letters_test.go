package cli

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"weir/plugins/operate/replay"
)

// deadLetters runs 'weir dead-letters' against an api that answers every trial
// with a body, and returns what was asked, what was printed, and how it ended.
func deadLetters(t *testing.T, answer string, args ...string) (wish *replay.TrialWish, out string, err error) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		wish = new(replay.TrialWish)
		if at := r.Method + " " + r.URL.Path; at != "POST /v1/dead-letters/dry-run" {
			t.Errorf("it asks %s", at)
		}
		if err := json.NewDecoder(r.Body).Decode(wish); err != nil {
			t.Error(err)
		}
		_, _ = w.Write([]byte(answer))
	}))
	defer s.Close()
	var printed strings.Builder
	app := &cli.App{Name: "weir", Commands: []*cli.Command{strict(deadLettersCommand())}, Writer: &printed,
		ErrWriter: new(strings.Builder), ExitErrHandler: func(*cli.Context, error) {}}
	err = app.Run(append([]string{"weir", "dead-letters", "--api", s.URL, "--key", "k"}, args...))
	return wish, printed.String(), err
}

const allPass = `{"tried":2,"accepted":2,"failing":0,"resolved":1,"because":[],"failures":[],"examples":[
	{"id":"l1","code":"schema_violation","original":"{\"a\":\u001b1}","patched":"{\"a\":2}"}]}`

// What is tried is what the list shows, and the outcome is the exit code.
func TestDeadLetters_ADryRunTriesWhatTheListShows(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.blobl")
	if err := os.WriteFile(file, []byte("root.a = 2"), 0o600); err != nil {
		t.Fatal(err)
	}
	wish, out, err := deadLetters(t, allPass, "--dry-run", "--stage", "ingest, raw", "--code", "schema_violation",
		"--fleet", "f", "--device", "d", "--to", "2026-11-20T10:00:00Z", "--limit", "7", "--patch", "@"+file)
	if err != nil {
		t.Fatal(err, out)
	}
	if wish.Fleet != "f" || strings.Join(wish.Stages, "+") != "ingest+raw" || len(wish.Codes) != 1 ||
		wish.Devices[0] != "d" || *wish.Limit != 7 || wish.Patch != "root.a = 2" || len(wish.IDs) != 0 ||
		wish.To.Sub(*wish.From) != 24*time.Hour {
		t.Errorf("it asks %+v", wish)
	}
	for _, want := range []string{"2 dead letters tried: 2 would be sent through again\n", "1 were sent through before",
		`patched: "{\"a\":2}"`, "nothing was sent, and nothing changed"} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q: %s", want, out)
		}
	}
	if strings.Contains(out, "\x1b") {
		t.Errorf("what was sent moves the cursor: %q", out)
	}
	wish, _, err = deadLetters(t, `{"tried":1,"failing":1,"because":[{"reason":"no unit","count":1}],"failures":[],
		"examples":[]}`, "--dry-run", "--id", "l1", "--json")
	if code, ok := err.(cli.ExitCoder); !ok || code.ExitCode() != exitFinding {
		t.Errorf("one that would fail again ends with %v", err)
	}
	if wish.From != nil || len(wish.IDs) != 1 {
		t.Errorf("of one it asks %+v", wish)
	}
}

func TestDeadLetters_APatchIsForADryRun(t *testing.T) {
	for _, args := range [][]string{{"--patch", "root = this"}, {"--dry-run", "--from", "yesterday"},
		{"--dry-run", "--patch", "@/nowhere"}} {
		if wish, _, err := deadLetters(t, allPass, args...); err == nil || wish != nil {
			t.Errorf("%v: %v, and it asks %v", args, err, wish)
		}
	}
}
