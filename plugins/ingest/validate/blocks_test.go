package validate

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/control/block"
	"weir/internal/event"
	"weir/internal/platform/sqldb"
)

// Events of a device or a user that is blocked are refused, of their fleet alone, and
// are told until when; whatever else is wrong with an event is said as ever. Without
// the field nobody is.
func TestBlocks_WhoIsBlockedIsRefused(t *testing.T) {
	url := "sqlite://" + filepath.Join(t.TempDir(), "control.db")
	db, err := sqldb.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	store, err := block.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	until := time.Now().Add(time.Hour)
	for subject, kind := range map[string]block.Kind{"bad-1": block.Device, "ann": block.User, "over": block.Device} {
		b := block.Block{Kind: kind, Subject: subject, Until: until, Reason: "tried cards", By: "k"}
		if _, err := store.Put(t.Context(), "shop", b); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := store.Lift(t.Context(), "shop", block.Device, "over", "k"); err != nil {
		t.Fatal(err)
	}
	of := func(device, more string) string {
		return strings.Replace(strings.Replace(goodEvent, "device-0042", device, 1), `"metrics"`, more+`"metrics"`, 1)
	}
	cases := []struct{ fleet, raw, code, pointer string }{
		{"shop", of("bad-1", ""), "blocked", "/device_id"}, {"shop", of("bad-10", ""), "", ""},
		{"other", of("bad-1", ""), "", ""}, {"", of("bad-1", ""), "", ""},
		{"shop", of("good", `"user":{"id":"ann"},`), "blocked", "/user/id"},
		{"shop", of("good", `"user":{"id":"anne"},`), "", ""}, {"shop", of("ann", ""), "", ""},
		{"shop", of("good", `"user":{"id":"bad-1"},`), "", ""}, {"shop", of("over", ""), "", ""},
		{"shop", strings.Replace(of("bad-1", ""), "61.25", `"hot"`, 1), "schema_violation", ""},
	}
	for _, config := range []string{"", "\n  blocks: { url: '" + url + "' }"} {
		var batch service.MessageBatch
		for _, c := range cases {
			batch = append(batch, message(c.raw, event.HeaderFleet, c.fleet))
		}
		out := through(t, "  url: file://"+shippedDir(t)+config, batch...)
		for i, c := range cases {
			r := event.RejectionOf(out[i])
			code := c.code
			if config == "" && code == "blocked" {
				code = ""
			}
			switch {
			case code == "" && r != nil, code != "" && (r == nil || string(r.Code) != code):
				t.Errorf("case %d with %q: %+v, want %q", i, config, r, code)
			case code == "blocked" && (r.Errors[0].Pointer != c.pointer || strings.Contains(r.Errors[0].Message, "cards") ||
				!strings.Contains(r.Errors[0].Message, until.UTC().Add(time.Second-1).Format(time.RFC3339))):
				t.Errorf("case %d: %+v", i, r)
			}
		}
	}
}

// A process that begins while the store is away takes events.
func TestBlocks_AStoreThatIsAwayKeepsNobodyOut(t *testing.T) {
	m := through(t, "  url: file://"+shippedDir(t)+"\n  blocks: { url: 'sqlite:///dev/null/none.db' }",
		message(goodEvent, event.HeaderFleet, "shop"))[0]
	if err := m.GetError(); err != nil {
		t.Error(err)
	}
}
