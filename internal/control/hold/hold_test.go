package hold

import (
	"errors"
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

func TestHold_AHoldSaysWhoWhyAndSinceWhen(t *testing.T) {
	s, ctx := opened(t), t.Context()
	if _, held, err := s.Held(ctx, "acme"); held || err != nil {
		t.Fatal(held, err)
	}
	first, err := s.Place(ctx, "acme", " case 7 ", "k1")
	if err != nil || first.Reason != "case 7" || first.PlacedBy != "k1" || time.Since(first.Since) > time.Minute {
		t.Fatal(first, err)
	}
	if again, err := s.Place(ctx, "acme", "another", "k2"); err != nil || again != first {
		t.Fatal("a second hold took the place of the first:", again, err)
	}
	if h, held, err := s.Held(ctx, "acme"); !held || err != nil || h != first {
		t.Fatal(h, held, err)
	}
	if _, held, err := s.Held(ctx, "acm"); held || err != nil {
		t.Fatal(held, err)
	}
	gone, err := s.Release(ctx, "acme", "k2")
	if err != nil || gone.ReleasedBy != "k2" || gone.ReleasedAt == nil {
		t.Fatal(gone, err)
	}
	if _, err := s.Release(ctx, "acme", "k2"); !errors.Is(err, errNotFound) {
		t.Fatal(err)
	}
	if fleets, err := s.Fleets(ctx); len(fleets) != 0 || err != nil {
		t.Fatal(fleets, err)
	}
	if _, err := s.Place(ctx, "acme", "case 8", "k1"); err != nil {
		t.Fatal(err)
	}
	if past, err := s.List(ctx, true); len(past) != 2 || err != nil || past[0].Reason != "case 7" {
		t.Fatal(past, err)
	}
	for _, bad := range [][2]string{{"", "r"}, {"a b", "r"}, {"acme2", "  "}, {"acme2", strings.Repeat("x", maxText+1)}} {
		if _, err := s.Place(ctx, bad[0], bad[1], "k"); !errors.Is(err, errInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestHold_HoldsThatCannotBeReadAreAnErrorAndNotNone(t *testing.T) {
	s := opened(t)
	_ = s.db.Close()
	if _, _, err := s.Held(t.Context(), "acme"); err == nil {
		t.Error("whether a fleet is held was told without its store")
	}
	if _, err := s.Fleets(t.Context()); err == nil {
		t.Error("the held fleets were told without their store")
	}
}

func TestHold_HoldsOverHTTP(t *testing.T) {
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
	ask("GET", "/v1/holds/acme", "", 404)
	ask("PUT", "/v1/holds/acme", `{}`, 400)
	ask("PUT", "/v1/holds/acme", `{"why":"x"}`, 400)
	ask("PUT", "/v1/holds/acme", `{"reason":"case 7"}`, 200)
	if body := ask("GET", "/v1/holds", "", 200); !strings.Contains(body, `"reason":"case 7"`) {
		t.Fatal(body)
	}
	if body := ask("DELETE", "/v1/holds/acme", "", 200); !strings.Contains(body, `"released_at"`) {
		t.Fatal(body)
	}
	ask("DELETE", "/v1/holds/acme", "", 404)
	if body := ask("GET", "/v1/holds", "", 200); !strings.Contains(body, `"holds":[]`) {
		t.Fatal(body)
	}
	if body := ask("GET", "/v1/holds?past=true", "", 200); !strings.Contains(body, "case 7") {
		t.Fatal(body)
	}
	ask("GET", "/v1/holds?past=maybe", "", 400)
}
