package retention

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/lifecycle"
	"weir/internal/platform/kafka"
	"weir/internal/platform/storeurl"
	"weir/tests/integration/testlog"
)

// sized is a store of so many bytes.
type sized struct {
	lifecycle.Store
	n   int64
	err error
}

func (s sized) Bytes(context.Context) (int64, error) { return s.n, s.err }

func (s sized) Expire(context.Context, lifecycle.Upkeep) ([]lifecycle.Share, error) {
	return nil, s.err
}

func TestMeasure_TellsOfEachStoreAndLeavesOutWhatFails(t *testing.T) {
	kind := func(name string, place lifecycle.Place, n int64, err error) lifecycle.Kind {
		return lifecycle.Kind{Name: name, Place: place,
			Open: func(context.Context, *lifecycle.Places) (lifecycle.Store, error) { return sized{n: n, err: err}, nil }}
	}
	dir := t.TempDir()
	r := &processor{res: service.MockResources(), list: lifecycle.List{
		kind("events", lifecycle.Raw, 100, nil), kind("more", lifecycle.Raw, 20, nil),
		kind("minutes", lifecycle.Rollups, 7, nil),
		kind("letters", lifecycle.DeadLetters, 0, errors.New("the bucket is gone")),
		kind("keys", lifecycle.Control, 999, nil),
	}}
	r.urls = map[lifecycle.Place]string{}
	for _, place := range []lifecycle.Place{lifecycle.Rollups, lifecycle.Control} {
		r.urls[place] = storeurl.New("sqlite", filepath.Join(dir, string(place)))
	}
	at := lifecycle.NewPlaces(r.res, r.urls)
	defer at.Close()
	for _, place := range []lifecycle.Place{lifecycle.Rollups, lifecycle.Control} {
		db, err := at.SQL(t.Context(), place)
		if err == nil {
			_, err = db.ExecContext(t.Context(), `CREATE TABLE t (x TEXT)`)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	got, _, err := r.sizes(t.Context(), at)
	if err == nil || !strings.Contains(err.Error(), "letters: the bucket is gone") {
		t.Errorf("the failure is told as %v", err)
	}
	for _, file := range []string{"rollups", "control"} {
		if got[file] < 4096 {
			t.Errorf("the file of %s has %d bytes", file, got[file])
		}
		delete(got, file)
	}
	if want := map[string]int64{"raw": 120, "old_rollups": 7}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// Beside the stores are the log, the claims, and all objects of old minutes; what
// cannot be asked hides no other.
func TestMeasure_TellsOfTheLogTheClaimsAndOldMinutes(t *testing.T) {
	k := testlog.New(t)
	k.Write(100, time.Now())
	dir := t.TempDir()
	for name, n := range map[string]int{"claims/000001.sst": 500, "old/1m/a.parquet": 70, "old/left.parquet": 7} {
		path := filepath.Join(dir, name)
		err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, make([]byte, n), 0o600))
		if err != nil {
			t.Fatal(err)
		}
	}
	cluster, err := kafka.New(k.Addrs, nil, kafka.Login{})
	if err != nil {
		t.Fatal(err)
	}
	r := &processor{res: service.MockResources(), config: config{log: &cluster,
		claims: storeurl.New("pebble", filepath.Join(dir, "claims")), old: storeurl.New("file", filepath.Join(dir, "old"))}}
	got := map[string]int64{}
	if err := r.beside(t.Context(), got); err != nil {
		t.Fatal(err)
	}
	if got[storeLog] < 100 {
		t.Errorf("the log has %d bytes", got[storeLog])
	}
	delete(got, storeLog)
	if want := map[string]int64{"claims": 500, "old_rollups": 77}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	r.claims = "redis://127.0.0.1:1/0"
	got = map[string]int64{}
	if err := r.beside(t.Context(), got); err == nil || got["old_rollups"] != 77 || got["claims"] != 0 {
		t.Errorf("without the claims: %v %v", got, err)
	}
}
