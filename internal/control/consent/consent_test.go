package consent

import (
	"errors"
	"math/rand/v2"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

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

// Whatever the order in which changes come in, what held at a time is what was
// said last until then; of one moment a withdrawal counts.
func TestConsent_WhatHeldAtATimeIsWhatWasSaidLastUntilThen(t *testing.T) {
	s, ctx, r := opened(t), t.Context(), rand.New(rand.NewPCG(3, 17))
	base := time.Now().Add(-time.Hour).Truncate(time.Microsecond)
	said := [60]State{} // by second
	for range 40 {
		second, granted := r.IntN(len(said)), r.IntN(2) == 0
		if _, err := s.Put(ctx, "acme", "pump-1", Change{Purpose: "ads", Granted: granted,
			At: base.Add(time.Duration(second) * time.Second)}); err != nil {
			t.Fatal(err)
		}
		if said[second] != Withdrawn {
			said[second] = Change{Granted: granted}.state()
		}
	}
	found, err := s.Histories(ctx, "acme", []string{"pump-1", "nobody"})
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	h := found[Said{"pump-1", "ads"}]
	holds := Unknown
	for second, now := range said {
		if at := base.Add(time.Duration(second) * time.Second); h.At(at.Add(-time.Microsecond)) != holds {
			t.Errorf("before second %d: %v, expected %v", second, h.At(at.Add(-time.Microsecond)), holds)
		}
		if now != Unknown {
			holds = now
		}
		if at := base.Add(time.Duration(second) * time.Second); h.At(at) != holds {
			t.Errorf("second %d: %v, expected %v", second, h.At(at), holds)
		}
	}
	if h.Last() != holds || (History)(nil).Last() != Unknown {
		t.Error("what was said last does not hold now")
	}
}

func TestConsent_ManySubjectsAreReadAndNoOtherFleetsAre(t *testing.T) {
	s, ctx := opened(t), t.Context()
	var subjects []string
	const many = 500
	for i := range 2*many + 1 {
		subjects = append(subjects, "s-"+strings.Repeat("x", i%7)+string(rune('a'+i%26))+strings.Repeat("y", i/26))
	}
	for _, subject := range []string{subjects[0], subjects[many], subjects[2*many]} {
		for _, fleet := range []string{"acme", "other"} {
			if _, err := s.Put(ctx, fleet, subject, Change{Purpose: "ads", Granted: fleet == "acme"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	found, err := s.Histories(ctx, "acme", subjects)
	if err != nil || len(found) != 3 {
		t.Fatal(len(found), err)
	}
	for of, h := range found {
		if len(h) != 1 || h.Last() != Granted {
			t.Errorf("%v: %v", of, h)
		}
	}
}

func TestConsent_WhatCannotBeSaidIsRefused(t *testing.T) {
	s := opened(t)
	for name, c := range map[string]struct {
		fleet, subject string
		change         Change
	}{
		"no fleet":           {"", "s", Change{Purpose: "ads"}},
		"no subject":         {"acme", "", Change{Purpose: "ads"}},
		"a long subject":     {"acme", strings.Repeat("s", maxSubject+1), Change{Purpose: "ads"}},
		"a line in it":       {"acme", "a\nb", Change{Purpose: "ads"}},
		"no purpose":         {"acme", "s", Change{}},
		"a purpose in caps":  {"acme", "s", Change{Purpose: "Ads"}},
		"a time of tomorrow": {"acme", "s", Change{Purpose: "ads", At: time.Now().Add(24 * time.Hour)}},
	} {
		if _, err := s.Put(t.Context(), c.fleet, c.subject, c.change); !errors.Is(err, errInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestConsent_OverHTTP(t *testing.T) {
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
	ask("GET", "/v1/consent", "", 400)
	ask("PUT", "/v1/consent", `{"subject":"s","purpose":"ads"}`, 400)
	ask("PUT", "/v1/consent", `{"subject":"s","purpose":"ads","granted":true,"who":"x"}`, 400)
	ask("PUT", "/v1/consent", `{"subject":"s","purpose":"ads","granted":true}`, 400) // of no fleet: nobody was let through
	if body := ask("GET", "/v1/consent?subject=s", "", 200); !strings.Contains(body, `"changes":[]`) {
		t.Error(body)
	}
}

// Who withdraws is never refused, however much was said before.
func TestConsent_AWithdrawalIsAlwaysTaken(t *testing.T) {
	s := opened(t)
	at := time.Now().Add(-24 * time.Hour)
	for i := range maxChanges {
		if _, err := s.Put(t.Context(), "acme", "s", Change{Purpose: "ads", Granted: true,
			At: at.Add(time.Duration(i) * time.Second)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Put(t.Context(), "acme", "s", Change{Purpose: "ads", Granted: true}); !errors.Is(err, errInvalid) {
		t.Errorf("one more grant: %v", err)
	}
	if _, err := s.Put(t.Context(), "acme", "s", Change{Purpose: "ads"}); err != nil {
		t.Errorf("a withdrawal: %v", err)
	}
	found, err := s.Histories(t.Context(), "acme", []string{"s"})
	if err != nil || found[Said{"s", "ads"}].Last() != Withdrawn {
		t.Errorf("%v", err)
	}
}
