package subject

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redpanda-data/benthos/v4/public/service"
	_ "github.com/redpanda-data/connect/v4/public/components/pure"

	"weir/internal/control/consent"
	"weir/internal/control/identity"
	"weir/internal/event"
	"weir/plugins/store/deadletter"
	"weir/plugins/store/lake"
	"weir/plugins/store/raw"
	"weir/tests/integration/testbed"
)

// sent is an event of a device, which names what its user has.
func sent(device, user string) *service.Message {
	m := service.NewMessage(fmt.Appendf(nil, `{"event_id":%q,"device_id":%q,"device_firmware_version":"1.0.0",`+
		`"timestamp":%q,"metrics":{},"user":{%s},"payload":{"of":"%s %s"}}`, uuid.NewString(), device,
		time.Now().UTC().Format(time.RFC3339Nano), user, device, strings.ReplaceAll(user, `"`, "")))
	m.MetaSetMut(event.HeaderFleet, "shop")
	m.MetaSetMut(event.HeaderReceivedAt, time.Now().UTC().Format(event.TimeFormat))
	return m
}

// stored puts messages into a store of objects by an output of its room.
func stored(t *testing.T, register func(*service.Environment) error, output string, batch service.MessageBatch) {
	t.Helper()
	env := service.GlobalEnvironment().Clone()
	if err := register(env); err != nil {
		t.Fatal(err)
	}
	b := env.NewStreamBuilder()
	if err := errors.Join(b.SetLoggerYAML("level: off"), b.AddOutputYAML(output)); err != nil {
		t.Fatal(err)
	}
	send, err := b.AddBatchProducerFunc()
	if err != nil {
		t.Fatal(err)
	}
	stop := testbed.Run(t, b)
	if err := send(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	stop()
}

// A person gets what is theirs, all of it, and nothing of others on devices that they
// share.
func TestSubject_APersonGetsWhatIsTheirs(t *testing.T) {
	ctx, dir, db := t.Context(), t.TempDir(), testbed.SQLite(t)
	at := time.Now().Add(-time.Minute)
	identities, err := identity.Open(ctx, db)
	if err != nil {
		t.Fatal(err)
	}
	consents, err := consent.Open(ctx, db)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := identities.Note(ctx, "shop", "test", []identity.Seen{
		{Device: "phone", Anonymous: "a1", User: "ann", At: at}, {Device: "kiosk", User: "ann", At: at},
		{Device: "kiosk", User: "bob", At: at}, {Device: "laptop", User: "bob", At: at}}); err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{"ann", "phone", "kiosk", "bob"} {
		if _, err := consents.Put(ctx, "shop", subject, consent.Change{Purpose: "ads", Granted: true}); err != nil {
			t.Fatal(err)
		}
	}
	stored(t, raw.Register, fmt.Sprintf("raw_store: { url: %q }", lake.FileURL(dir+"/raw")), service.MessageBatch{
		sent("phone", `"anonymous_id":"a1"`), sent("phone", ``), sent("phone", `"id":"ann"`), sent("kiosk", `"id":"ann"`),
		sent("kiosk", `"id":"bob"`), sent("kiosk", ``), sent("laptop", `"id":"bob"`)})
	letter := sent("phone", `"id":"ann"`)
	stored(t, deadletter.Register, fmt.Sprintf(`dead_letter_store:
  url: %q
  batching:
    count: 2
    processors: [ { dead_letter: { stage: ingest } } ]`, lake.FileURL(dir+"/dead")),
		service.MessageBatch{letter, sent("laptop", `"id":"bob"`)})
	s := Stores{Identities: identities, Consents: consents, User: "/user/id", Anonymous: "/user/anonymous_id"}
	for url, to := range map[string]**lake.Store{lake.FileURL(dir + "/raw"): &s.Raw,
		lake.FileURL(dir + "/dead"): &s.DeadLetters} {
		if *to, err = lake.OpenReading(ctx, url); err != nil {
			t.Fatal(err)
		}
		defer (*to).Close()
	}
	var out bytes.Buffer
	sum, err := Export(ctx, s, "shop", "a1", &out)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if sum.Events != 4 || sum.DeadLetters != 1 || sum.Consents != 2 || sum.Ambiguous != 1 || len(lines) != 9 ||
		strings.Contains(out.String(), "bob") {
		t.Errorf("%+v\n%s", sum, out.String())
	}
	var last Summary
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || last != sum {
		t.Errorf("the end is %s (%v)", lines[len(lines)-1], err)
	}
	out.Reset()
	if sum, err := Export(ctx, s, "shop", "nobody", &out); err != nil || sum.Events+sum.DeadLetters+sum.Consents != 0 {
		t.Errorf("of nobody: %+v %v", sum, err)
	}
}
