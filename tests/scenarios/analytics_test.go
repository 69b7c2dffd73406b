package scenarios

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
)

// whatPeopleDo runs the commands of docs/analytics.md in their order, on a weir whose ingest stream takes user
// events.
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

// shuttingOut is a rule set with one rule that blocks a device and one that blocks a user, each after a single event.
const shuttingOut = `rules:
  - name: refused_card
    key: [device_id]
    pattern: { match: refused, within: 1m, order: arrival, define: { refused: 'this.metadata.type == "card_refused"' } }
    select: { n: count() }
    block: 1h
  - name: guessed_password
    key: [device_id]
    pattern: { match: guessed, within: 1m, order: arrival, define: { guessed: 'this.metadata.type == "password_guessed"' } }
    select: { who: last(this.user.id) }
    block: 1h
    block_user: who
`

// shutsOut checks that a rule blocks a device: soon after the triggering event its next events are refused, those of
// other devices are not, and lifting the block ends that. A blocked user is refused on every device.
func (s *system) shutsOut() {
	s.t.Helper()
	s.rules("put", s.file("shut.yaml", shuttingOut), "--activate")
	s.until("the rule is in force", func() bool {
		out, err := s.weir("rules", "list", "--data", s.data)
		return err == nil && strings.Contains(out, "in force: version 2")
	})
	by := func(user, device, kind string) string {
		_, reply := s.answer(fmt.Sprintf(`{"event_id":%q,"device_id":%q,"device_firmware_version":"1.2.0","timestamp":%q,`+
			`"metrics":{},"user":%s,"metadata":{"type":%q}}`, uuid.NewString(), device,
			time.Now().UTC().Format(time.RFC3339Nano), user, kind))
		return reply
	}
	send := func(device, kind string) string { return by(`{}`, device, kind) }
	s.until("the device is blocked", func() bool { // a partition applies a new version from a later batch on
		reply := send("thief-1", "card_refused")
		blocked := strings.Contains(reply, `"status":403,"code":"blocked"`)
		if !blocked && !strings.Contains(reply, `"accepted":1`) {
			s.t.Fatalf("answered %s", reply)
		}
		return blocked
	})
	const guesser = `{"id":"mallory"}`
	s.until("the user is blocked", func() bool {
		return strings.Contains(by(guesser, "thief-20", "password_guessed"), `"code":"blocked"`)
	})
	if reply := by(guesser, "thief-21", "page_viewed"); !strings.Contains(reply, `"code":"blocked"`) {
		s.t.Errorf("a blocked user on another device is answered %s", reply)
	}
	if reply := send("thief-20", "page_viewed"); !strings.Contains(reply, `"accepted":1`) {
		s.t.Errorf("the device of a blocked user, without that user, is answered %s", reply)
	}
	if reply := send("thief-10", "page_viewed"); !strings.Contains(reply, `"accepted":1`) {
		s.t.Errorf("another device is answered %s", reply)
	}
	s.until("what is told of it has settled, and it is let in again", func() bool {
		if out, err := s.weir("block", "lift", "--fleet", fleetName, "--device", "thief-1", "--data", s.data); err != nil &&
			!strings.Contains(err.Error(), "nothing blocks") {
			s.t.Fatalf("%v: %s", err, out)
		}
		return strings.Contains(send("thief-1", "page_viewed"), `"accepted":1`)
	})
	out, err := s.weir("block", "list", "--fleet", fleetName, "--past", "--data", s.data)
	if err != nil || !strings.Contains(out, "rule:refused_card") || !strings.Contains(out, "at the command line") {
		s.t.Errorf("%v: %s", err, out)
	}
}
