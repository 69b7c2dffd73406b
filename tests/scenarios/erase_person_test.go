package scenarios

import (
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Identifiers of one person as the privacy processor leaves them: a user id, two anonymous ids, and an anonymous id
// that an app chose itself. bob is another person.
const (
	ann   = "pii-field-k1-annannannann"
	annAt = "pii-field-k1-annphoneann"
	annOn = "pii-field-k1-anntabletann"
	annIs = "ann|watch@7-ü"
	bob   = "pii-field-k1-bobbobbobbob"
)

// noting adds the identity processor to the raw stream, so that weir records which identifiers belong together.
func (s *system) noting() {
	s.t.Helper()
	for _, dir := range []string{"configs", "schemas", "bloblang"} {
		if err := os.CopyFS(filepath.Join(s.dir, dir), os.DirFS(repo(dir))); err != nil {
			s.t.Fatal(err)
		}
	}
	path := filepath.Join(s.dir, "configs", "streams", "raw.yaml")
	raw, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	before, after, found := strings.Cut(string(raw), "\noutput:")
	if !found {
		s.t.Fatal("the raw stream has no output")
	}
	noting := before + "    - label: identity\n      identity:\n        url: ${WEIR_CONTROL_URL}\n\noutput:" + after
	if err := os.WriteFile(path, []byte(noting), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// people creates a fleet with two persons. The first signed in on two devices and uses a third whose events are all
// refused; the second is a neighbour. It returns all identifiers of the first person, devices included.
func (s *system) people() []string {
	s.t.Helper()
	out, err := s.weir("keys", "create", "--fleet", "shop", "--scope", "ingest,query,operate", "--data", s.data)
	if err != nil {
		s.t.Fatal(err)
	}
	key := strings.TrimSpace(out)
	s.rules("put", s.file("spent.yaml", `rules: [{ name: spent, across_devices: true, where: this.exists("user.id"),
  key: [this.user.id], window: { type: tumbling, size: 1s, allowed_lateness: 0s }, select: { n: count() } }]`), "--activate")
	for _, user := range [][2]string{{"phone-77", `"anonymous_id":"` + annAt + `"`},
		{"phone-77", `"anonymous_id":"` + annAt + `","id":"` + ann + `"`},
		{"tablet-77", `"anonymous_id":"` + annOn + `","id":"` + ann + `"`}, {"laptop-78", `"id":"` + bob + `"`},
		{"phone-77", `"anonymous_id":"` + annIs + `","id":"` + ann + `"`}, {"watch-77", `"anonymous_id":"` + annIs + `"`}} {
		for _, firmware := range []string{"2.0.0", "7.0.1"} { // no schema knows the second
			if user[0] == "watch-77" && firmware == "2.0.0" {
				continue // no event of it is ever accepted
			}
			event := fmt.Sprintf(`{"event_id":%q,"device_id":%q,"device_firmware_version":%q,"timestamp":%q,`+
				`"metrics":{"cpu_temp":50,"battery_voltage":3.7,"vibration":0.2},"user":{%s}}`, uuid.NewString(), user[0], firmware,
				time.Now().UTC().Format(time.RFC3339Nano), user[1])
			want := map[string]int{"2.0.0": http.StatusAccepted, "7.0.1": http.StatusBadRequest}[firmware]
			if status, body := s.sendTo(key, event); status != want {
				s.t.Fatalf("%s was answered %d %s", event, status, body)
			}
		}
	}
	for _, name := range []string{ann, annIs} {
		if status, body := s.sendTo(key, `{broken "id":"`+name+`"`); status != http.StatusBadRequest {
			s.t.Fatalf("answered %d %s", status, body)
		}
	}
	if _, err := s.weir("consent", "grant", "--fleet", "shop", "--subject", ann, "--purpose", "ads", "--data",
		s.data); err != nil {
		s.t.Fatal(err)
	}
	s.until("the aliases are known", func() bool {
		out, err := s.weir("identity", "show", "--fleet", "shop", "--subject", annOn, "--data", s.data)
		return err == nil && strings.Contains(out, "devices: phone-77, tablet-77\n") && strings.Contains(out, annAt)
	})
	s.until("sums of all devices have the person", func() (told bool) {
		s.control(func(db *sql.DB) error {
			return db.QueryRow(`SELECT count(*) > 0 FROM rule_result WHERE result LIKE $1`, `%"`+ann+`"%`).Scan(&told)
		})
		return told
	})
	s.until("the person's export has all of them", func() bool {
		out, err := s.weir("export-subject", "--person", annAt, "--fleet", "shop", "--reason", "the person asked", "--data",
			s.data)
		return err == nil && strings.Contains(out, `"events":4,"dead_letters":5,"consents":1`) && !strings.Contains(out, bob)
	})
	s.drained()
	if out, err := s.found("shop", annIs, time.Now(), "--silent"); err == nil ||
		!strings.Contains(out, "has dead letter") ||
		!strings.Contains(out, "control.db identity_claim.anonymous_id names") {
		s.t.Fatalf("the reader does not see what is there: %s", out)
	}
	return []string{ann, annAt, annOn, annIs, "phone-77", "tablet-77", "watch-77"}
}

// forgotten checks, with the independent reader for each identifier and with weir's own commands, that the person is
// erased and the neighbour is not.
func (s *system) forgotten(names []string, until time.Time) {
	s.t.Helper()
	for _, name := range names {
		s.erased("shop", name, until)
	}
	// A query by name would itself add the name to the audit log, so only the person's aliases are asked for here.
	out, err := s.weir("identity", "show", "--fleet", "shop", "--subject", annAt, "--data", s.data)
	if err != nil || !strings.Contains(out, "person: "+annAt+"\naliases: none\ndevices: none\n") {
		s.t.Errorf("who is forgotten is known: %s %v", out, err)
	}
	if out, err := s.weir("export-subject", "--person", bob, "--fleet", "shop", "--reason", "a neighbour", "--data",
		s.data); err != nil || !strings.Contains(out, `"kind":"event"`) || !strings.Contains(out, bob) {
		s.t.Errorf("the neighbour's export: %s %v", out, err)
	}
}
