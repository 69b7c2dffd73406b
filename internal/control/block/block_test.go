package block

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/lifecycle/tombstone"
	"weir/tests/integration/testbed"
)

func opened(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.Context(), testbed.SQLite(t))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *Store) listed(t *testing.T, fleet string, past bool) []Block {
	t.Helper()
	blocks, total, err := s.List(t.Context(), fleet, Query{Past: past, Limit: 1000})
	if err != nil || int(total) != len(blocks) {
		t.Fatal(total, len(blocks), err)
	}
	return blocks
}

func told(id string, revision int64, back bool) Told {
	return Told{ID: id, Revision: revision, Rule: "r", Fleet: "shop", Device: "d-" + id, Reason: "why", For: time.Hour,
		At: time.Now(), Back: back}
}

// A result may name a user: that one is blocked, and not the device. Of a name that is
// none, the device is, and of a person who was erased since, nobody.
func TestTell_BlocksAUserThatAResultNames(t *testing.T) {
	s, ctx := opened(t), t.Context()
	at := time.Now()
	results := []Told{told("a", 0, false), told("b", 0, false), told("c", 0, false)}
	results[0].User, results[1].User, results[2].User = "tok_ann", strings.Repeat("x", maxSubject+1), "tok_bob"
	if err := tombstone.Bury(ctx, s.db, tombstone.OfName("shop", "tok_bob", at.Add(time.Hour))); err != nil {
		t.Fatal(err)
	}
	if noted, err := s.Tell(ctx, results); err != nil || len(noted.Acts) != 2 {
		t.Fatal(noted, err)
	}
	got := map[string]Kind{}
	for _, b := range s.listed(t, "shop", true) {
		got[b.Subject] = b.Kind
	}
	if len(got) != 2 || got["tok_ann"] != User || got["d-b"] != Device {
		t.Errorf("%v", got)
	}
}

func TestBlock_IsPutReplacedAndLifted(t *testing.T) {
	s, ctx := opened(t), t.Context()
	until := time.Now().Add(time.Hour)
	for _, at := range []time.Time{until.Add(time.Hour), until} {
		kept, err := s.Put(ctx, "shop", Block{Kind: User, Subject: "ann", Until: at, Reason: "why", By: "k"})
		if err != nil || kept.At.IsZero() {
			t.Fatal(kept, err)
		}
	}
	if _, err := s.Put(ctx, "other", Block{Kind: User, Subject: "ann", Until: until, Reason: "why", By: "k"}); err != nil {
		t.Fatal(err)
	}
	got := s.listed(t, "shop", true)
	if len(got) != 1 || got[0].Until.After(until) || got[0].By != "k" {
		t.Fatalf("%+v", got)
	}
	if strings.Contains(got[0].ID, "ann") {
		t.Errorf("the id is in the audit log, and an erasure would not find the name in it: %s", got[0].ID)
	}
	if _, err := s.Lift(ctx, "shop", Device, "ann", "k"); !errors.Is(err, errNotFound) {
		t.Errorf("a device of the same name: %v", err)
	}
	if n, err := s.Lift(ctx, "shop", User, "ann", "k2"); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if got := s.listed(t, "shop", true); len(s.listed(t, "shop", false)) != 0 || got[0].LiftedBy != "k2" ||
		got[0].LiftedAt == nil {
		t.Errorf("%+v", got)
	}
	if got := s.listed(t, "other", false); len(got) != 1 {
		t.Errorf("the other fleet has %+v", got)
	}
}

func TestBlock_WhatCannotBeSaidIsRefused(t *testing.T) {
	s, soon := opened(t), time.Now().Add(time.Hour)
	for name, b := range map[string]Block{
		"no kind":      {Subject: "x", Until: soon, Reason: "r"},
		"no subject":   {Kind: Device, Until: soon, Reason: "r"},
		"a line in it": {Kind: Device, Subject: "a\nb", Until: soon, Reason: "r"},
		"no reason":    {Kind: Device, Subject: "x", Until: soon},
		"no time":      {Kind: Device, Subject: "x", Reason: "r"},
		"for ever":     {Kind: Device, Subject: "x", Until: soon.Add(longest), Reason: "r"},
	} {
		if _, err := s.Put(t.Context(), "shop", b); !errors.Is(err, errInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// However often results are handed on, in whatever batches, after the last revision
// of each what it says holds, once; and nothing is longer by it.
func TestBlock_WhatIsToldTwiceBlocksOnce(t *testing.T) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 17))
		s, ctx := opened(t), t.Context()
		begin := time.Now().Truncate(time.Microsecond)
		var log []Told // of one id, revisions in their order
		last := map[string]Told{}
		for n := range 12 {
			id := fmt.Sprint(r.IntN(4))
			one := told(id, int64(n), r.IntN(2) == 0)
			log, last[id] = append(log, one), one
		}
		now := begin
		s.now = func() time.Time { now = now.Add(time.Millisecond); return now }
		for at := 0; at < len(log); {
			end := min(len(log), at+1+r.IntN(4))
			for range 1 + r.IntN(2) { // the second time as after a crash
				if _, err := s.Tell(ctx, log[at:end]); err != nil {
					t.Fatal(err)
				}
			}
			at = end
		}
		before := fmt.Sprint(s.listed(t, "shop", true))
		if _, err := s.Tell(ctx, log[len(log)-1:]); err != nil || fmt.Sprint(s.listed(t, "shop", true)) != before {
			t.Fatalf("seed %d: told again, it changed: %v", seed, err)
		}
		in := map[string]bool{}
		for _, b := range s.listed(t, "shop", false) {
			in[b.ID] = true
			if b.Subject != "d-"+b.ID || b.Rule != "r" || b.By != "rule:r" || b.Until.After(now.Add(time.Hour)) {
				t.Errorf("seed %d: %+v", seed, b)
			}
		}
		for id, l := range last {
			if in[id] == l.Back {
				t.Errorf("seed %d: of %s was told last that it is taken back: %t, and it blocks: %t", seed, id, l.Back, in[id])
			}
		}
	}
}

func TestBlock_WhatSomebodyLiftedStaysLifted(t *testing.T) {
	s, ctx := opened(t), t.Context()
	for _, one := range []Told{told("a", 0, false), told("a", 0, false)} {
		if noted, err := s.Tell(ctx, []Told{one}); err != nil || len(noted.Acts) != 1 {
			t.Fatal(noted, err)
		}
	}
	if n, err := s.Lift(ctx, "shop", Device, "d-a", "k"); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	for revision := range int64(2) {
		if noted, err := s.Tell(ctx, []Told{told("a", revision, false)}); err != nil || len(noted.Acts) != 0 {
			t.Fatal(noted, err)
		}
	}
	if got := s.listed(t, "shop", false); len(got) != 0 {
		t.Errorf("it is blocked again: %+v", got)
	}
}

// What an erasure takes away does not come back with a result that is on its way;
// what comes later counts.
func TestBlock_WhatIsErasedDoesNotComeBack(t *testing.T) {
	s, ctx := opened(t), t.Context()
	if _, err := s.Tell(ctx, []Told{told("a", 0, false), told("b", 0, false)}); err != nil {
		t.Fatal(err)
	}
	until := time.Now()
	if err := tombstone.Bury(ctx, s.db, tombstone.Of("shop", "d-a", until)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := erase(ctx, s.db, tombstone.Target{Job: "j", Fleet: "shop", Device: "d-a",
			Until: until.UnixMicro()}); err != nil {
			t.Fatal(err)
		}
	}
	late := told("c", 0, false)
	late.Device, late.At = "d-a", until.Add(-time.Second)
	if noted, err := s.Tell(ctx, []Told{late}); err != nil || len(noted.Acts) != 0 {
		t.Fatal(noted, err)
	}
	if got := s.listed(t, "shop", true); len(got) != 1 || got[0].ID != "b" {
		t.Errorf("%+v", got)
	}
	later := told("d", 0, false)
	later.Device, later.At = "d-a", until.Add(time.Second)
	if noted, err := s.Tell(ctx, []Told{later}); err != nil || len(noted.Acts) != 1 {
		t.Fatal(noted, err)
	}
}

// follower is one that reads when the test says so.
func follower(t *testing.T, url string) *Follower {
	t.Helper()
	f := Follow(service.MockResources(), url, 24*time.Hour)
	t.Cleanup(f.Close)
	if err := f.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFollower_HasWhoIsBlockedInMemory(t *testing.T) {
	s, ctx := opened(t), t.Context()
	put := func(kind Kind, subject string, length time.Duration) {
		t.Helper()
		if _, err := s.Put(ctx, "shop", Block{Kind: kind, Subject: subject, Until: time.Now().Add(length), Reason: "r",
			By: "k"}); err != nil {
			t.Fatal(err)
		}
	}
	put(Device, "d", time.Hour)
	f := &Follower{now: time.Now, version: -1, age: service.MockResources().Metrics().NewGauge("age")}
	f.fleets.Store(&map[string]*Fleet{})
	away := errors.New("away")
	var down error
	refresh := func() error {
		if down != nil {
			return down
		}
		return f.take(ctx, s)
	}
	if err := refresh(); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	is := func(fleet string, kind Kind, subject string, at time.Time) bool {
		_, blocked := f.Of(fleet).Until(kind, subject, at)
		return blocked
	}
	if !is("shop", Device, "d", now) || is("shop", User, "d", now) || is("other", Device, "d", now) ||
		is("shop", Device, "e", now) || f.Of("shop").Any(User) || f.None() {
		t.Error("not who is blocked")
	}
	down = away
	put(User, "ann", 2*time.Hour)
	if refresh() == nil || is("shop", User, "ann", now) || !is("shop", Device, "d", now) {
		t.Error("while the store is away, what is known does not stay as it is")
	}
	if is("shop", Device, "d", now.Add(61*time.Minute)) {
		t.Error("a block outlives its time")
	}
	down = nil
	if err := refresh(); err != nil || !is("shop", User, "ann", now) {
		t.Error("what was put meanwhile is not known", err)
	}
	if _, err := s.Lift(ctx, "shop", Device, "d", "k"); err != nil {
		t.Fatal(err)
	}
	if err := refresh(); err != nil || is("shop", Device, "d", now) {
		t.Error("what was lifted is still blocked", err)
	}
}

// Who asks when a process begins waits for the first answer, and not for a store
// that is away.
func TestFollower_BeginsWithoutItsStore(t *testing.T) {
	f := follower(t, "sqlite:///dev/null/none.db")
	if !f.None() || f.Of("shop").Any(Device) {
		t.Error("somebody is blocked")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	hung := &Follower{asked: make(chan struct{})}
	if hung.Ready(ctx) == nil {
		t.Error("it is ready before it was asked")
	}
}

func TestBlock_OverHTTP(t *testing.T) {
	h := Handler(opened(t))
	ask := func(method, path, body string, want int) string {
		t.Helper()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body)))
		if w.Code != want {
			t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
		}
		return w.Body.String()
	}
	if body := ask("GET", "/v1/blocks", "", 200); !strings.Contains(body, `"blocks":[],"total":0`) {
		t.Error(body)
	}
	for _, bad := range []string{"kind=x", "past=maybe", "limit=0", "who=x"} {
		ask("GET", "/v1/blocks?"+bad, "", 400)
	}
	ask("PUT", "/v1/blocks", `{"kind":"device"}`, 400)
	ask("PUT", "/v1/blocks", `{"kind":"device","for":"15m"}`, 400)
	ask("DELETE", "/v1/blocks?kind=device", "", 400)
	ask("DELETE", "/v1/blocks?kind=device&subject=d", "", 404)
}
