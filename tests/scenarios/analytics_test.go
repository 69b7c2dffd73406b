package scenarios

import (
	"os"
	"path/filepath"
	"strings"
)

// whatPeopleDo runs the commands of docs/analytics.md in their order, on a weir
// whose ingest stream takes events about people.
func (s *system) whatPeopleDo() {
	s.t.Helper()
	raw, err := os.ReadFile(repo("docs/analytics.md"))
	if err != nil {
		s.t.Fatal(err)
	}
	bin := s.t.TempDir()
	if err := os.Symlink(s.bin, filepath.Join(bin, "weir")); err != nil {
		s.t.Fatal(err)
	}
	commands := shell(string(raw))
	wants := []string{"in force: version 1", `"accepted":1`, `"type":"order_placed","events":1`, `"total":1`,
		`"orders":1,"refunds":0,"amount_minor":1999`, `"open":1`, `"name":"funnel_checkout","devices":0`,
		`"campaign":null,"currency":"EUR","orders":1,"amount_minor":1999`}
	if len(commands) != len(wants) {
		s.t.Fatalf("docs/analytics.md has %d commands, and this test knows %d answers", len(commands), len(wants))
	}
	own := strings.NewReplacer("127.0.0.1:8080", s.addresses[0], "127.0.0.1:8090", s.addresses[1])
	env := append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "KEY="+s.key)
	for i, command := range commands {
		s.answered(own.Replace(command), wants[i], env)
	}
}
