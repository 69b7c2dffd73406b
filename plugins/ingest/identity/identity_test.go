package identity

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	_ "github.com/redpanda-data/connect/v4/public/components/pure"

	"weir/internal/control/identity"
	"weir/internal/event"
	"weir/internal/platform/sqldb"
)

var received = time.Date(2026, 11, 21, 9, 30, 0, 0, time.UTC)

func made(t *testing.T, yaml string) *processor {
	t.Helper()
	parsed, err := spec().ParseYAML(yaml, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newProcessor(parsed, service.MockResources())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close(context.Background()) })
	return p
}

// message is an event of a device, with a user of these members, so long before it
// was received.
func message(device, user string, age time.Duration) *service.Message {
	m := service.NewMessage(fmt.Appendf(nil, `{"event_id":"6f1c2a34-9b7d-4e21-8a55-0c1d2e3f4a5b","device_id":%q,`+
		`"device_firmware_version":"1.0.0","timestamp":%q,"metrics":{"amount":1.50},"user":%s}`,
		device, received.Add(-age).Format(time.RFC3339Nano), user))
	m.MetaSetMut(event.HeaderFleet, "shop")
	m.MetaSetMut(event.HeaderReceivedAt, received.Format(event.TimeFormat))
	return m
}

// What events say is in the store when the batch has passed; who an event is of is put
// into it for those who come after; all else is left as it is.
func TestIdentity_EventsSayWhoIsWho(t *testing.T) {
	url := "sqlite://" + t.TempDir() + "/control.db"
	p := made(t, fmt.Sprintf("{ url: %q, into: user.person }", url))
	duplicate := message("d1", `{"anonymous_id":"a1","user_id":"x","id":"eve"}`, time.Hour)
	duplicate.MetaSetMut(event.MetaDuplicateOf, "raw-events/0/1")
	failed := message("d1", `{"anonymous_id":"a1","id":"eve"}`, time.Hour)
	failed.SetError(fmt.Errorf("failed before"))
	batch := service.MessageBatch{
		message("d1", `{"anonymous_id":"a1"}`, 3*time.Minute),
		message("d1", `{"anonymous_id":"a1","id":"ann"}`, 2*time.Minute),
		message("d2", `{"anonymous_id":"a2","id":"bob"}`, -time.Hour), // a clock that is ahead
		message("d2", `{"anonymous_id":"a3"}`, time.Minute), message("d3", `{"anonymous_id":5,"id":["x"]}`, time.Minute),
		message("d4", `{}`, time.Minute), duplicate, failed, service.NewMessage([]byte("no event")),
	}
	out, err := p.ProcessBatch(t.Context(), batch)
	if err != nil || len(out) != 1 || len(out[0]) != len(batch) {
		t.Fatal(out, err)
	}
	for i, want := range []string{`"person":"ann"`, `"person":"ann"`, `"person":"bob"`, `"person":"a3"`, `"person":"5"`, "", "", "", ""} {
		raw, err := out[0][i].AsBytes()
		if err != nil || want == "" && strings.Contains(string(raw), "person") || !strings.Contains(string(raw), want) {
			t.Errorf("event %d is %s, expected %s (%v)", i, raw, want, err)
		}
		if i == 0 && !strings.Contains(string(raw), `"amount":1.5`) {
			t.Errorf("event %d lost what it had: %s", i, raw)
		}
	}
	db, err := sqldb.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	store, err := identity.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]string{"ann": "ann [a1] [d1]", "a2": "bob [a2] [d2]", "a3": "a3 [] [d2]",
		"eve": "eve [] []", "5": "5 [] [d3]"} {
		who, err := store.Person(t.Context(), "shop", id, 0)
		if got := fmt.Sprint(who.ID, who.Aliases, who.Devices); err != nil || strings.ReplaceAll(got, " ", "") !=
			strings.ReplaceAll(want, " ", "") {
			t.Errorf("%s is %s, expected %s (%v)", id, got, want, err)
		}
	}
	who, err := store.Person(t.Context(), "shop", "bob", 0)
	if err != nil || len(who.Claims) != 1 || !who.Claims[0].At.Equal(received) {
		t.Errorf("bob's claim is of %+v, expected the time it was received (%v)", who.Claims, err)
	}
}

// A stream that only tells who is who notes nothing.
func TestIdentity_ToTellIsNotToNote(t *testing.T) {
	url := "sqlite://" + t.TempDir() + "/control.db"
	p := made(t, fmt.Sprintf("{ url: %q, into: person, note: false }", url))
	out, err := p.ProcessBatch(t.Context(), service.MessageBatch{message("d1", `{"anonymous_id":"a1","id":"ann"}`, 0)})
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := out[0][0].AsBytes(); err != nil || !strings.Contains(string(raw), `"person":"ann"`) {
		t.Errorf("%s %v", raw, err)
	}
	store, err := p.store.Get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if v, err := store.Version(t.Context(), "shop"); err != nil || v != 0 {
		t.Errorf("version %d %v", v, err)
	}
	parsed, err := spec().ParseYAML("{ url: 'sqlite://x', note: false }", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newProcessor(parsed, service.MockResources()); err == nil {
		t.Error("a processor that does nothing was made")
	}
}

// While the store is away, batches wait; told to stop, it hands the batch back.
func TestIdentity_EventsWaitForTheStore(t *testing.T) {
	file := t.TempDir() + "/no-folder"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p := made(t, fmt.Sprintf("{ url: 'sqlite://%s/control.db' }", file))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := p.ProcessBatch(ctx, service.MessageBatch{message("d1", `{"id":"ann"}`, 0)})
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("the batch did not wait: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	stop()
	if err := <-done; err == nil {
		t.Error("the batch passed without the store")
	}
}
