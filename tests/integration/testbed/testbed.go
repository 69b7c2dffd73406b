// Package testbed is what tests of many rooms begin with: an empty store, a stream
// that runs, readings of many shapes.
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

// SQLite is a store in a file of its own, closed with the test.
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

// Readings are the shapes of readings that devices send.
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
