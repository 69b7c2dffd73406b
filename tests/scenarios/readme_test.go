package scenarios

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The README's commands run as they are printed, one after another in one shell session; only addresses are replaced.
func TestReadme_TheCommandsOfTheReadmeWork(t *testing.T) {
	s := newSystem(t)
	s.start()
	s.ready()
	raw, err := os.ReadFile(repo("README.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(raw), -1)
	if len(blocks) != 2 {
		t.Fatalf("the README has %d blocks of commands, want 2: the two commands, and a conversation", len(blocks))
	}
	for _, command := range []string{"make up", "make install", "make test"} {
		if !strings.Contains(blocks[0][1], command) {
			t.Errorf("the README's first block does not say %q", command)
		}
	}
	bin := t.TempDir()
	if err := os.Symlink(s.bin, filepath.Join(bin, "weir")); err != nil {
		t.Fatal(err)
	}
	addresses := strings.NewReplacer("127.0.0.1:8080", s.addresses[0], "127.0.0.1:8090", s.addresses[1])
	// The text that each command's output must contain. A command is repeated because what a query asks for may not
	// be stored yet.
	wants := map[string]string{
		"keys create": "", "-d '": `"accepted":1`, "latest": `"cpu_temp":{"value":61.5`, "rollups": `"count":1`,
		"/v1/events?": `"cpu_temp":61.5`, "weir fleet": "accepted", "weir reconcile": "Every record is explained",
	}
	key, seen := "", 0
	for command := range strings.SplitSeq(strings.TrimSpace(blocks[1][1]), "\n\n") {
		for part, want := range wants {
			if !strings.Contains(command, part) {
				continue
			}
			seen++
			out := ""
			for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(500 * time.Millisecond) {
				cmd := exec.Command("sh", "-c", addresses.Replace(command)+"\necho; echo KEY=$KEY")
				cmd.Dir = s.dir
				cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "KEY="+key, "WEIR_URL=http://"+s.addresses[0])
				raw, err := cmd.CombinedOutput()
				out = string(raw)
				if err == nil && strings.Contains(out, want) {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("%s\nanswers without %s (%v):\n%s", command, want, err, out)
				}
			}
			key = strings.TrimSpace(out[strings.LastIndex(out, "KEY=")+len("KEY="):])
			break
		}
	}
	if seen != len(wants) {
		t.Errorf("ran %d commands of the README, want %d", seen, len(wants))
	}
}
