// Package testbed has what tests of many packages need: an empty store, a running stream, sample readings.
package testbed

import (
	"context"
	"math"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/sqldb"
)

// SQLite returns an empty SQLite database that is closed when the test ends.
func SQLite(t testing.TB) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(t.Context(), "sqlite://"+filepath.Join(t.TempDir(), "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// Run runs a stream until stop is called, or the test ends.
func Run(t testing.TB, b *service.StreamBuilder) (stop func()) {
	t.Helper()
	s, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(context.Background()) }()
	stop = sync.OnceFunc(func() {
		if err := s.StopWithin(20 * time.Second); err != nil {
			t.Errorf("stopping the stream: %v", err)
			return
		}
		<-done
	})
	t.Cleanup(stop)
	return stop
}

// Readings returns generators of readings, by the shape of their distribution.
func Readings(r *rand.Rand) map[string]func() float64 {
	return map[string]func() float64{
		"temperatures around zero": func() float64 { return math.Round(r.NormFloat64()*200) / 10 },
		"below zero":               func() float64 { return -40 - 30*r.Float64() },
		"long tail":                func() float64 { return math.Exp(4 * r.NormFloat64()) },
		"seven decades":            func() float64 { return math.Pow(10, 7*r.Float64()) * float64(1-2*r.IntN(2)) },
		"constant":                 func() float64 { return 21.5 },
		"mostly zero":              func() float64 { return max(0, r.NormFloat64()) },
		"counters":                 func() float64 { return float64(r.IntN(1_000_000)) },
	}
}
