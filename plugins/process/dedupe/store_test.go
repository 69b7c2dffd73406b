package dedupe

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/gomodule/redigo/redis"

	"weir/internal/event"
	"weir/internal/platform/calls"
	"weir/tests/integration/require"
)

type testLog struct{ t testing.TB }

func (testLog) Infof(string, ...any)  {}
func (testLog) Warnf(string, ...any)  {}
func (testLog) Errorf(string, ...any) {}

// kinds are the stores that every promise below is tested on.
func kinds() map[string]func(t testing.TB, ttl time.Duration) store {
	return map[string]func(testing.TB, time.Duration) store{
		"pebble": func(t testing.TB, ttl time.Duration) store {
			return newPebble(vfs.Default, filepath.Join(t.TempDir(), "claims"), ttl, testLog{t})
		},
		"memory": func(t testing.TB, ttl time.Duration) store {
			s, err := newStore("memory://", ttl, time.Second, testLog{t})
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		"redis": newTestRedis,
		"redis before 7": func(t testing.TB, ttl time.Duration) store {
			r := newTestRedis(t, ttl).(*redisStore)
			dial := r.conns.Pool.DialContext
			r.conns.Pool.DialContext = func(ctx context.Context) (redis.Conn, error) {
				c, err := dial(ctx)
				if err != nil {
					return nil, err
				}
				return before7{c.(redis.ConnWithTimeout)}, nil
			}
			return r
		},
	}
}

func newTestRedis(t testing.TB, ttl time.Duration) store {
	r, err := newRedis(require.Env(t, "WEIR_TEST_REDIS_URL"), ttl, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// before7 has SET with both NX and GET refused as by Redis 6.
type before7 struct{ redis.ConnWithTimeout }

func (c before7) Send(name string, args ...any) error {
	if name == "SET" && len(args) == 6 {
		args[3] = "no such word"
	}
	return c.ConnWithTimeout.Send(name, args...)
}

func onEveryStore(t *testing.T, ttl time.Duration, test func(t *testing.T, s store)) {
	for name, open := range kinds() {
		t.Run(name, func(t *testing.T) {
			s := open(t, ttl)
			defer func() {
				if err := s.close(); err != nil {
					t.Error(err)
				}
			}()
			test(t, s)
		})
	}
}

// newID makes identities that no other test run has used: Redis is shared.
func newID() (id [16]byte) {
	binary.BigEndian.PutUint64(id[:], rand.Uint64())
	binary.BigEndian.PutUint64(id[8:], rand.Uint64())
	return id
}

func at(partition int32, offset int64) event.Coordinates {
	return event.Coordinates{Topic: "raw-events", Partition: partition, Offset: offset}
}

func ask(t testing.TB, s store, found ...delivery) []claim {
	t.Helper()
	claims := newClaims(found, nil)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.claim(ctx, claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// holder is who holds the identity after the claim.
func holder(t testing.TB, c claim) event.Coordinates {
	t.Helper()
	if c.held == nil {
		c.held = c.mine
	}
	held, _, err := readCoordinates(c.held)
	if err != nil {
		t.Fatal(err)
	}
	return held
}

func TestDedupe_TheFirstClaimHolds(t *testing.T) {
	onEveryStore(t, time.Minute, func(t *testing.T, s store) {
		id := newID()
		if c := ask(t, s, delivery{id: id, fleet: "a", at: at(1, 10)}); c[0].held != nil {
			t.Fatal("a new identity was held already")
		}
		if c := ask(t, s, delivery{id: id, fleet: "a", at: at(1, 10)}); !bytes.Equal(c[0].held, c[0].mine) {
			t.Fatal("a redelivery does not hold its own claim")
		}
		for range 2 {
			if got := holder(t, ask(t, s, delivery{id: id, fleet: "a", at: at(2, 5)})[0]); got != at(1, 10) {
				t.Fatalf("held by %s", got)
			}
		}
	})
}

func TestDedupe_FleetsNeverMeet(t *testing.T) {
	onEveryStore(t, time.Minute, func(t *testing.T, s store) {
		id := newID()
		for i, fleet := range []string{"a", "b", "", "aa"} {
			if c := ask(t, s, delivery{id: id, fleet: fleet, at: at(1, int64(i))}); c[0].held != nil {
				t.Fatalf("fleet %q met another", fleet)
			}
		}
	})
}

func TestDedupe_TheFirstOfABatchWins(t *testing.T) {
	onEveryStore(t, time.Minute, func(t *testing.T, s store) {
		a, b := newID(), newID()
		c := ask(t, s,
			delivery{id: a, at: at(1, 1)}, delivery{id: b, at: at(1, 2)},
			delivery{id: a, at: at(1, 3)}, delivery{id: a, at: at(1, 1)})
		if c[0].held != nil || c[1].held != nil {
			t.Fatal("the first was held already")
		}
		if holder(t, c[2]) != at(1, 1) || holder(t, c[3]) != at(1, 1) {
			t.Fatal("a later one of the batch does not see the first")
		}
	})
}

func TestDedupe_AnExpiredClaimIsMadeAgain(t *testing.T) {
	const ttl = 300 * time.Millisecond
	onEveryStore(t, ttl, func(t *testing.T, s store) {
		id := newID()
		begin := time.Now()
		ask(t, s, delivery{id: id, at: at(1, 1)})
		made := time.Now() // at the latest: opening the store may have taken a while
		got := holder(t, ask(t, s, delivery{id: id, at: at(1, 2)})[0])
		if got != at(1, 1) && time.Since(begin) < ttl {
			t.Fatal("expired early")
		}
		time.Sleep(ttl - time.Since(made) + 50*time.Millisecond)
		if c := ask(t, s, delivery{id: id, at: at(1, 2)}); c[0].held != nil && holder(t, c[0]) != at(1, 2) {
			t.Fatal("still held after its time")
		}
		if holder(t, ask(t, s, delivery{id: id, at: at(1, 3)})[0]) != at(1, 2) {
			t.Fatal("the new claim does not hold")
		}
	})
}

func TestDedupe_AllGroupsAgreeOnTheHolder(t *testing.T) {
	onEveryStore(t, time.Minute, func(t *testing.T, s store) {
		const groups, events = 8, 500
		ids := make([][16]byte, events)
		for i := range ids {
			ids[i] = newID()
		}
		seen := make([][]event.Coordinates, groups)
		var wg sync.WaitGroup
		for g := range groups {
			wg.Go(func() {
				seen[g] = make([]event.Coordinates, events)
				order := rand.Perm(events)
				for len(order) > 0 {
					n := min(1+rand.IntN(100), len(order))
					found := make([]delivery, n)
					for j, i := range order[:n] {
						found[j] = delivery{id: ids[i], fleet: "f", at: at(int32(g), int64(i))}
					}
					claims := newClaims(found, nil)
					if err := s.claim(context.Background(), claims); err != nil {
						t.Error(err)
						return
					}
					for j, i := range order[:n] {
						seen[g][i] = holder(t, claims[j])
					}
					order = order[n:]
				}
			})
		}
		wg.Wait()
		if t.Failed() {
			return
		}
		for i := range events {
			for g := range groups {
				if seen[g][i] != seen[0][i] || seen[g][i].Offset != int64(i) {
					t.Fatalf("event %d: group %d sees %s, group 0 sees %s", i, g, seen[g][i], seen[0][i])
				}
			}
		}
	})
}

func TestDedupe_CancelledClaimsReturn(t *testing.T) {
	onEveryStore(t, time.Minute, func(t *testing.T, s store) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := s.claim(ctx, newClaims([]delivery{{id: newID(), at: at(1, 1)}}, nil)); err == nil {
			return // it was faster than the cancellation: that it returned is what counts
		} else if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	})
}

func TestDedupe_CoordinatesReadBack(t *testing.T) {
	for _, c := range []event.Coordinates{at(0, 0), at(29, 1<<40), {Topic: "ü/1", Partition: 1<<31 - 1,
		Offset: 1<<63 - 1}} {
		got, _, err := readCoordinates(appendCoordinates(nil, c, 0))
		if err != nil || got != c {
			t.Errorf("%s came back as %s (%v)", c, got, err)
		}
	}
	for _, bad := range [][]byte{nil, {1}, {1, 2}, {0xff}, {1, 0xff}, bytes.Repeat([]byte{0xff}, 20)} {
		if c, _, err := readCoordinates(bad); err == nil {
			t.Errorf("%x was read as %s", bad, c)
		}
	}
}

func FuzzReadCoordinates(f *testing.F) {
	f.Add(appendCoordinates(nil, at(3, 300), 0))
	f.Add(appendCoordinates(nil, at(3, 300), 1<<63+5))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, log, err := readCoordinates(b); err == nil {
			if again, l, err := readCoordinates(appendCoordinates(nil, c, log)); err != nil || again != c || l != log {
				t.Fatalf("%x: %s, then %s (%v)", b, c, again, err)
			}
		}
	})
}

func BenchmarkClaims(b *testing.B) {
	for name, open := range kinds() {
		for _, size := range []int{100, 1000} {
			for _, what := range []string{"new", "redelivered"} {
				b.Run(fmt.Sprintf("%s/%s/batch=%d", name, what, size), func(b *testing.B) {
					s := open(b, time.Hour)
					defer s.close()
					found := make([]delivery, size)
					fill := func() {
						for i := range found {
							found[i] = delivery{id: newID(), fleet: "fleet-1", at: at(3, rand.Int64())}
						}
					}
					fill()
					b.ReportAllocs()
					b.ResetTimer()
					for range b.N {
						if what == "new" {
							fill()
						}
						ask(b, s, found...)
					}
					b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*size), "µs/claim")
					b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "claims/s")
				})
			}
		}
	}
}

// Connections and claims are told; a command that Redis refuses has failed.
func TestCalls_EveryClaimIsTold(t *testing.T) {
	r := newTestRedis(t, time.Minute).(*redisStore)
	defer r.close()
	told := map[string]int{}
	r.conns.Kind, r.conns.Meter = callClaim, &calls.Meter{Tell: func(kind string, _ time.Duration, failed bool) {
		told[fmt.Sprint(kind, " ", failed)]++
	}}
	ask := func(command string) {
		_, _ = r.conns.Pipeline(t.Context(), 1, func(c redis.Conn) error { return c.Send(command) })
	}
	ask("PING")
	ask("NOSUCHCOMMAND")
	if told["connect false"] != 1 || told["claim false"] != 1 || told["claim true"] != 1 || len(told) != 3 {
		t.Errorf("told were %v", told)
	}
}
