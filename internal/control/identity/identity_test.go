package identity

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
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

func base() time.Time { return time.Now().Add(-time.Hour).UTC().Truncate(time.Second) }

// history is what people do: some sign in on devices that others used before.
func history(r *rand.Rand, n int) (all []Seen) {
	for i := range n {
		e := Seen{Device: fmt.Sprint("d", r.IntN(5)), Anonymous: fmt.Sprint("a", r.IntN(6)), At: base().Add(time.Duration(i) *
			time.Second), Received: base()}
		if r.IntN(3) > 0 {
			e.User = fmt.Sprint("u", r.IntN(4))
		}
		all = append(all, e)
	}
	return all
}

// Whatever the order in which events come, however they are batched and however
// often they come again, the same person has each id, and it is who signed in first.
func TestIdentity_NoOrderOfEventsChangesWhoIsWho(t *testing.T) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 17))
		events := history(r, 40)
		first := map[string]Seen{}
		for _, e := range events { // in order of their time
			if _, ok := first[e.Anonymous]; !ok && e.User != "" {
				first[e.Anonymous] = e
			}
		}
		shuffled := append(slices.Clone(events), events[:10]...)
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		s := opened(t)
		owner := map[string]string{}
		for part := range slices.Chunk(shuffled, 7) {
			noted, err := s.Note(t.Context(), "shop", "test", part)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range noted.Changes {
				if owner[c.Anonymous] != c.Before {
					t.Errorf("seed %d: %+v, and its owner was %q", seed, c, owner[c.Anonymous])
				}
				owner[c.Anonymous] = c.After
			}
		}
		for anonymous, e := range first {
			people, err := s.Resolve(t.Context(), "shop", []string{anonymous, "nobody"}, 0)
			if err != nil || people[anonymous] != e.User || people["nobody"] != "nobody" || owner[anonymous] != e.User {
				t.Errorf("seed %d: %s is %v (%v), and the changes say %s; expected %s", seed, anonymous, people, err,
					owner[anonymous], e.User)
			}
		}
		if noted, err := s.Note(t.Context(), "shop", "test", events); err != nil || noted.Claims+noted.Devices != 0 {
			t.Errorf("seed %d: what is known was kept again: %+v %v", seed, noted, err)
		}
	}
}

// An answer can be had as it was at a version, and what changed since is told.
func TestIdentity_AnAnswerAsItWas(t *testing.T) {
	s, ctx := opened(t), t.Context()
	put := func(user string, at time.Duration) []Change {
		t.Helper()
		_, changes, err := s.Put(ctx, "shop", Claim{Anonymous: "a1", User: user, At: base().Add(at)})
		if err != nil {
			t.Fatal(err)
		}
		return changes
	}
	if got := put("bob", 2*time.Minute); len(got) != 1 || got[0] != (Change{"a1", "", "bob", 1}) {
		t.Fatal(got)
	}
	if got := put("eve", 3*time.Minute); len(got) != 0 { // on the same device, later
		t.Fatal(got)
	}
	if got := put("ann", time.Minute); len(got) != 1 || got[0] != (Change{"a1", "bob", "ann", 3}) {
		t.Fatal(got) // an event that came late
	}
	for version, want := range map[int64]string{0: "ann", 1: "bob", 2: "bob", 3: "ann"} {
		if people, err := s.Resolve(ctx, "shop", []string{"a1"}, version); err != nil || people["a1"] != want {
			t.Errorf("version %d: %v %v", version, people, err)
		}
	}
	for since, want := range map[int64]string{0: "[{a1  ann 3}]", 2: "[{a1 bob ann 3}]", 3: "[]"} {
		if got, _, err := s.Changes(ctx, "shop", since, "", 10); err != nil || fmt.Sprint(got) != want {
			t.Errorf("since %d: %v %v", since, got, err)
		}
	}
	bob, err := s.Person(ctx, "shop", "bob", 0)
	if err != nil || !bob.Contested || len(bob.Aliases) != 0 {
		t.Errorf("%+v %v", bob, err)
	}
	if was, err := s.Person(ctx, "shop", "a1", 1); err != nil || was.ID != "bob" || was.Contested ||
		fmt.Sprint(was.Aliases) != "[a1]" {
		t.Errorf("%+v %v", was, err)
	}
	if people, err := s.Resolve(ctx, "other", []string{"a1"}, 0); err != nil || people["a1"] != "a1" {
		t.Errorf("another fleet knows them: %v %v", people, err)
	}
}

func TestIdentity_APersonHasDevicesAndSomeAreShared(t *testing.T) {
	s, ctx := opened(t), t.Context()
	if _, err := s.Note(ctx, "shop", "test", []Seen{
		{Device: "phone", Anonymous: "a1", At: base()}, {Device: "phone", Anonymous: "a1", User: "ann", At: base()},
		{Device: "tablet", Anonymous: "a2", User: "ann", At: base()}, {Device: "tablet", Anonymous: "a2", User: "bob",
			At: base().Add(time.Minute)},
		{Device: "laptop", User: "bob", At: base()},
	}); err != nil {
		t.Fatal(err)
	}
	p, err := s.Person(ctx, "shop", "a2", 0)
	if err != nil || p.ID != "ann" || fmt.Sprint(p.Aliases, p.Devices, p.Shared) != "[a1 a2] [phone tablet] [tablet]" ||
		!p.Contested {
		t.Errorf("%+v %v", p, err)
	}
}

// What an erasure takes away stays away, whatever of it is on its way; what comes
// later is new.
func TestIdentity_WhatIsErasedDoesNotComeBack(t *testing.T) {
	s, ctx := opened(t), t.Context()
	events := []Seen{{Device: "phone", Anonymous: "a1", User: "ann", At: base(), Received: base()},
		{Device: "laptop", Anonymous: "a2", User: "bob", At: base(), Received: base()}}
	note := func(events ...Seen) {
		t.Helper()
		if _, err := s.Note(ctx, "shop", "test", events); err != nil {
			t.Fatal(err)
		}
	}
	counted := func(name string) string {
		t.Helper()
		n, err := count(ctx, s.db, "shop", name)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(n)
	}
	note(events...)
	until := base().Add(time.Minute)
	for _, name := range []string{"ann", "a1", "phone"} {
		if counted(name) == "map[identity_claims:0 identity_devices:0]" {
			t.Errorf("nothing is counted of %s", name)
		}
		if err := tombstone.Bury(ctx, s.db, tombstone.Of("shop", name, until)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"ann", "a1", "phone"} {
		for range 2 {
			if err := erase(ctx, s.db, tombstone.Target{Job: "job-" + name, Fleet: "shop", Device: name,
				Until: until.UnixMicro()}); err != nil {
				t.Fatal(err)
			}
		}
	}
	noted, err := s.Note(ctx, "shop", "test", append([]Seen{{Device: "new", Anonymous: "a9", At: base(), Received: base()},
		{Device: "new", User: "ann", At: base(), Received: base()}}, events...))
	if err != nil || fmt.Sprint(noted.Erased) != "[1 2]" {
		t.Errorf("erased are %v (%v)", noted.Erased, err)
	}
	for _, name := range []string{"ann", "a1", "phone"} {
		if got := counted(name); got != "map[identity_claims:0 identity_devices:0]" {
			t.Errorf("%s came back: %s", name, got)
		}
	}
	if got := counted("bob"); got != "map[identity_claims:1 identity_devices:1]" {
		t.Errorf("the neighbour has %s", got)
	}
	counts := map[string]int64{}
	if err := tombstone.Counts(ctx, s.db, "job-ann", counts); err != nil || counts[countClaims] != 1 {
		t.Errorf("noted %v %v", counts, err)
	}
	later := events[0]
	later.Received = until.Add(time.Second)
	note(later)
	if got := counted("ann"); got != "map[identity_claims:1 identity_devices:1]" {
		t.Errorf("what came later is not there: %s", got)
	}
	before, err := s.Version(ctx, "shop")
	if err != nil {
		t.Fatal(err)
	}
	// An erasure of the fleet that ends before the last claim leaves it, and the versions go on.
	if err := erase(ctx, s.db, tombstone.Target{Job: "i", Fleet: "shop", Until: until.UnixMicro()}); err != nil {
		t.Fatal(err)
	}
	if v, err := s.Version(ctx, "shop"); err != nil || v != before {
		t.Errorf("the version is %d, and was %d (%v)", v, before, err)
	}
	if err := erase(ctx, s.db, tombstone.Target{Job: "j", Fleet: "shop", Until: time.Now().UnixMicro()}); err != nil {
		t.Fatal(err)
	}
	if v, err := s.Version(ctx, "shop"); err != nil || v != 0 ||
		counted("") != "map[identity_claims:0 identity_devices:0]" {
		t.Errorf("left of the fleet: version %d, %s (%v)", v, counted(""), err)
	}
}

func TestIdentity_TooManyClaimsOfOneIDLeaveTheFirst(t *testing.T) {
	s, ctx := opened(t), t.Context()
	var many []Seen
	for i := range maxClaims + 5 {
		many = append(many, Seen{Anonymous: "kiosk", User: fmt.Sprintf("u%04d", i), At: base().Add(time.Duration(i) *
			time.Millisecond)})
	}
	noted, err := s.Note(ctx, "shop", "test", many)
	if err != nil || noted.Claims != maxClaims || noted.Ignored != 5 {
		t.Fatal(noted, err)
	}
	if _, _, err := s.Put(ctx, "shop", Claim{Anonymous: "kiosk", User: "late"}); err == nil {
		t.Error("one more was kept")
	}
	_, changes, err := s.Put(ctx, "shop", Claim{Anonymous: "kiosk", User: "first", At: base().Add(-time.Minute)})
	if err != nil || len(changes) != 1 || changes[0].After != "first" {
		t.Errorf("%v %v", changes, err)
	}
}

func TestIdentity_OverHTTP(t *testing.T) {
	s := opened(t)
	h := Handler(s)
	ask := func(method, path, body string) (int, string) {
		t.Helper()
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, httptest.NewRequestWithContext(context.Background(), method, path, strings.NewReader(body)))
		return answer.Code, answer.Body.String()
	}
	for bad, says := range map[string]string{`{"anonymous_id":"a1"}`: "user_id", `{"user_id":"u"}`: "anonymous_id",
		`{"anonymous_id":"a1","user_id":"u","x":1}`: "unknown field", `{"anonymous_id":"a\u0001","user_id":"u"}`: "anonymous_id",
		`{"anonymous_id":"a1","user_id":"u","at":"2999-01-01T00:00:00Z"}`: "ahead", `{`: "body"} {
		if code, body := ask("PUT", "/v1/identity", bad); code != 400 || !strings.Contains(body, says) {
			t.Errorf("%s was answered %d %s", bad, code, body)
		}
	}
	for _, path := range []string{"/v1/identity", "/v1/identity?subject=a1&as_of=x", "/v1/identity/changes?since=-1"} {
		if code, body := ask("GET", path, ""); code != 400 {
			t.Errorf("%s was answered %d %s", path, code, body)
		}
	}
	var p Person
	code, body := ask("GET", "/v1/identity?subject=a1", "")
	if err := json.Unmarshal([]byte(body), &p); code != 200 || err != nil || p.ID != "a1" || p.Aliases == nil {
		t.Errorf("%d %s", code, body)
	}
}

// Changes come in pages, which lead to one version, and miss none and repeat none.
func TestIdentity_ChangesArePaged(t *testing.T) {
	s, ctx := opened(t), t.Context()
	note := func(id, user string) {
		t.Helper()
		if _, err := s.Note(ctx, "", "test", []Seen{{Anonymous: id, User: user, At: base()}}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 25 {
		note(fmt.Sprintf("a|%02d", i), "ann")
	}
	version, err := s.Version(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	h, seen, cursor := Handler(s), []string{}, ""
	for pages := 0; ; pages++ {
		answer := httptest.NewRecorder()
		path := "/v1/identity/changes?limit=10&cursor=" + cursor
		h.ServeHTTP(answer, httptest.NewRequestWithContext(ctx, "GET", path, nil))
		var page struct {
			Version int64
			Changes []Change
			Next    *string
		}
		if err := json.Unmarshal(answer.Body.Bytes(), &page); err != nil || page.Version != version ||
			len(page.Changes) > 10 {
			t.Fatalf("%d %s %v", answer.Code, answer.Body, err)
		}
		for _, c := range page.Changes {
			seen = append(seen, c.Anonymous)
		}
		if page.Next == nil {
			break
		}
		if cursor = *page.Next; pages == 0 {
			note("a|00", "bob") // of a version that the pages do not lead to
		}
	}
	if len(seen) != 25 || !slices.IsSorted(seen) || len(slices.Compact(seen)) != 25 {
		t.Errorf("%d: %v", len(seen), seen)
	}
	for _, bad := range []string{"?limit=0", "?limit=10001", "?cursor=x", "?since=1&cursor=" + cursor} {
		answer := httptest.NewRecorder()
		if h.ServeHTTP(answer, httptest.NewRequest("GET", "/v1/identity/changes"+bad, nil)); answer.Code != 400 {
			t.Errorf("%s was answered %d %s", bad, answer.Code, answer.Body)
		}
	}
}

// What is asked before a batch is written goes by its pairs of subject and device: a
// subject that was seen on many devices costs no more.
func TestIdentity_KnownDevicesAreAskedForByPair(t *testing.T) {
	s, ctx := opened(t), t.Context()
	query, args := seenPairs(s.db.Dialect, "shop", []pair{{"ann", "phone"}, {"bob", "laptop"}})
	plan := ""
	if err := sqldb.Each(ctx, s.db, func(row sqldb.Row) error {
		var id, parent, unused int
		var step string
		err := row.Scan(&id, &parent, &unused, &step)
		plan += step + "\n"
		return err
	}, "EXPLAIN QUERY PLAN "+query, args...); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(plan, "(fleet=? AND subject=? AND device_id=?)") {
		t.Errorf("the plan: %s", plan)
	}
	var many []Seen
	for i := range 1000 { // more than one query asks for
		many = append(many, Seen{Device: fmt.Sprintf("d%04d", i), User: "ann", At: base()})
	}
	for range 2 {
		if _, err := s.Note(ctx, "shop", "test", many); err != nil {
			t.Fatal(err)
		}
	}
	other, err := Open(ctx, s.db) // which has seen nothing of it
	if err != nil {
		t.Fatal(err)
	}
	noted, err := other.Note(ctx, "shop", "test", append(many[:900:900], Seen{Device: "new", User: "ann", At: base()}))
	if err != nil || noted.Devices != 1 {
		t.Errorf("%+v %v", noted, err)
	}
}
