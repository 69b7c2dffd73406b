package apikey

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/internal/platform/sqldb"
	"weir/tests/integration/require"
)

func open(t testing.TB) *Store {
	t.Helper()
	return openURL(t, "sqlite://"+filepath.Join(t.TempDir(), "control.db"))
}

func openURL(t testing.TB, url string) *Store {
	t.Helper()
	db, err := sqldb.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	s, err := Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func create(t testing.TB, s *Store, fleet string, opts Options) (string, Key) {
	t.Helper()
	text, k, err := s.Create(t.Context(), fleet, opts)
	if err != nil {
		t.Fatal(err)
	}
	return text, k
}

// The promises of a store, held by each of them.
func storeSuite(t *testing.T, s *Store) {
	fleet := "f" + strings.ToLower(time.Now().Format("150405.000000"))
	text, k := create(t, s, fleet, Options{Name: "first"})
	if !strings.HasPrefix(text, "weir_"+k.ID+"_") || len(text) != textLen {
		t.Fatalf("text %q of key %q", text, k.ID)
	}
	got, err := s.lookup(t.Context(), text)
	if err != nil || got.Fleet != fleet || got.Admin || got.Name != "first" {
		t.Fatalf("%+v %v", got, err)
	}
	for _, bad := range []string{"", "weir_", text + "a", text[:len(text)-1], text[:len(text)-1] + "!",
		strings.ToUpper(text), flip(text)} {
		if _, err := s.lookup(t.Context(), bad); !errors.Is(err, ErrUnknown) {
			t.Errorf("%q: %v", bad, err)
		}
	}

	if !slices.Equal(got.Scopes, []Scope{Ingest}) {
		t.Errorf("a key without further words may %v", got.Scopes)
	}

	second, k2 := create(t, s, fleet, Options{Scopes: []Scope{Operate, Query}, DevicePrefix: "pump-", Name: "two"})
	if _, _, err := s.Rotate(t.Context(), fleet, "", time.Hour, Options{}); !errors.Is(err, errInvalid) {
		t.Errorf("which of two keys is to be rotated is not said: %v", err)
	}
	third, k3, err := s.Rotate(t.Context(), "", k2.ID, time.Hour, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.lookup(t.Context(), text); err != nil {
		t.Errorf("a key of the fleet that is not rotated: %v", err)
	}
	if k, err := s.lookup(t.Context(), second); err != nil || k.ExpiresAt == nil || time.Until(*k.ExpiresAt) > time.Hour ||
		k.ReplacedBy != k3.ID {
		t.Errorf("the key that is replaced: %+v %v", k, err)
	}
	if k, err := s.lookup(t.Context(), third); err != nil || !slices.Equal(k.Scopes, []Scope{Query, Operate}) ||
		k.DevicePrefix != "pump-" || k.Name != "two" || k.Fleet != fleet {
		t.Errorf("the new key may do what the old one could: %+v %v", k, err)
	}
	for range 2 {
		if err := s.Revoke(t.Context(), k2.ID); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.lookup(t.Context(), second); !errors.Is(err, ErrUnknown) {
		t.Errorf("revoked: %v", err)
	}
	if err := s.Revoke(t.Context(), "nothing"); !errors.Is(err, errNotFound) {
		t.Error(err)
	}
	if _, _, err := s.Rotate(t.Context(), fleet, k3.ID, 0, Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.lookup(t.Context(), third); !errors.Is(err, ErrUnknown) {
		t.Errorf("no grace: %v", err)
	}
	if _, _, err := s.Rotate(t.Context(), fleet, k3.ID, 0, Options{}); !errors.Is(err, errNotFound) {
		t.Errorf("rotating a key that has ended: %v", err)
	}

	soon, _ := create(t, s, fleet, Options{ExpiresAt: time.Now().Add(300 * time.Millisecond)})
	if _, err := s.lookup(t.Context(), soon); err != nil {
		t.Error(err)
	}
	time.Sleep(350 * time.Millisecond)
	if _, err := s.lookup(t.Context(), soon); !errors.Is(err, ErrUnknown) {
		t.Errorf("expired: %v", err)
	}

	keys, err := s.List(t.Context(), fleet)
	if err != nil || len(keys) != 5 {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	if k, err := s.get(t.Context(), k3.ID); err != nil || k.RevokedAt == nil || k.State(time.Now()) != "revoked" {
		t.Errorf("%+v %v", k, err)
	}
	at := time.Now().UnixMicro()
	for _, used := range []int64{at, at - 5} {
		if err := s.touch(t.Context(), map[string]int64{k.ID: used}); err != nil {
			t.Fatal(err)
		}
	}
	if k, err := s.get(t.Context(), k.ID); err != nil || k.LastUsedAt == nil || k.LastUsedAt.UnixMicro() != at {
		t.Errorf("last used %v, %v", k.LastUsedAt, err)
	}

	single := fleet + "-race"
	create(t, s, single, Options{})
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if _, _, err := s.Rotate(context.Background(), single, "", time.Hour, Options{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	keys, err = s.List(t.Context(), single)
	heirs := slices.DeleteFunc(keys, func(k Key) bool { return k.ReplacedBy != "" })
	if err != nil || len(heirs) != 1 {
		t.Errorf("ten rotations at once leave %d keys without a successor, %v", len(heirs), err)
	}
}

func flip(text string) string {
	c := byte('a')
	if text[len(text)-1] == c {
		c = 'b'
	}
	return text[:len(text)-1] + string(c)
}

func TestAPIKey_KeysInSQLite(t *testing.T) { storeSuite(t, open(t)) }

func TestAPIKey_KeysInPostgres(t *testing.T) {
	storeSuite(t, openURL(t, require.Env(t, "WEIR_TEST_POSTGRES_URL")))
}

func TestAPIKey_StoreHoldsNoKeyText(t *testing.T) {
	s := open(t)
	text, k := create(t, s, "acme", Options{})
	secret := text[len(text)-secretLen:]
	rows, err := s.db.QueryContext(t.Context(), `SELECT id, CAST(hash AS TEXT), hash, name FROM api_key`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	found := 0
	for rows.Next() {
		var id, asText, name string
		var hash []byte
		if err := rows.Scan(&id, &asText, &hash, &name); err != nil {
			t.Fatal(err)
		}
		found++
		for _, v := range []string{id, asText, string(hash), name} {
			if strings.Contains(v, secret) {
				t.Errorf("the store holds %q", v)
			}
		}
		if want := hashOf(text); id != k.ID || !bytes.Equal(hash, want[:]) {
			t.Errorf("row %q %x", id, hash)
		}
	}
	if found != 1 {
		t.Fatalf("%d rows", found)
	}
}

func TestAPIKey_InvalidWishesAreRefused(t *testing.T) {
	s := open(t)
	for name, do := range map[string]func() error{
		"no fleet":     func() error { _, _, err := s.Create(t.Context(), "", Options{}); return err },
		"a colon":      func() error { _, _, err := s.Create(t.Context(), "a:b", Options{}); return err },
		"a path":       func() error { _, _, err := s.Create(t.Context(), "../x", Options{}); return err },
		"admin of one": func() error { _, _, err := s.Create(t.Context(), "acme", Options{Admin: true}); return err },
		"in the past": func() error {
			_, _, err := s.Create(t.Context(), "acme", Options{ExpiresAt: time.Unix(1, 0)})
			return err
		},
		"negative time": func() error { _, _, err := s.Rotate(t.Context(), "acme", "", -time.Second, Options{}); return err },
		"no such scope": func() error {
			_, _, err := s.Create(t.Context(), "acme", Options{Scopes: []Scope{"all"}})
			return err
		},
		"a fleet's admin": func() error {
			_, _, err := s.Create(t.Context(), "acme", Options{Scopes: []Scope{Ingest, Admin}})
			return err
		},
		"a prefix that no device has": func() error {
			_, _, err := s.Create(t.Context(), "acme", Options{DevicePrefix: "a b"})
			return err
		},
	} {
		if err := do(); !errors.Is(err, errInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if keys, err := s.List(t.Context(), ""); err != nil || len(keys) != 0 {
		t.Errorf("%v %v", keys, err)
	}
}

// old fills a store as it was before keys had scopes.
func old(t *testing.T, url string) (store *Store, fleet, admin string) {
	t.Helper()
	db, err := sqldb.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := db.Migrate(t.Context(), "apikey", migrations()[:1]); err != nil {
		t.Fatal(err)
	}
	insert := func(fleet string, admin int) string {
		id, text := newText()
		hash := hashOf(text)
		if _, err := db.ExecContext(t.Context(), `INSERT INTO api_key (id, hash, fleet, admin, name, created_at) VALUES ($1, $2, $3, $4, '', 1)`,
			id, hash[:], fleet, admin); err != nil {
			t.Fatal(err)
		}
		return text
	}
	fleet, admin = insert("acme", 0), insert("", 1)
	if store, err = Open(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	return store, fleet, admin
}

func TestStore_KeysOfOldKeepTheirPowers(t *testing.T) {
	s, fleet, admin := old(t, "sqlite://"+filepath.Join(t.TempDir(), "control.db"))
	for text, may := range map[string][]Scope{fleet: {Ingest, Query, Operate}, admin: {Query, Operate, Admin}} {
		k, err := s.lookup(t.Context(), text)
		if err != nil {
			t.Fatal(err)
		}
		for _, scope := range scopes() {
			if k.Allows(scope) != slices.Contains(may, scope) {
				t.Errorf("the key of %q: %s is %t", k.Fleet, scope, k.Allows(scope))
			}
		}
		if !k.Covers("any-device") {
			t.Errorf("the key of %q is for some devices only", k.Fleet)
		}
	}
	text, k, err := s.Rotate(t.Context(), "acme", "", time.Hour, Options{})
	if err != nil || !slices.Equal(k.Scopes, []Scope{Ingest, Query, Operate}) {
		t.Errorf("rotated: %+v %v", k, err)
	}
	if _, err := s.lookup(t.Context(), text); err != nil {
		t.Error(err)
	}
}
