package scenarios

import (
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// weir is killed repeatedly at random moments, during start-up included, while a fleet sends and retries. In the end
// every acknowledged event is stored and counted once, and reconcile explains every offset. WEIR_TORTURE_KILLS is the
// number of kills; WEIR_TORTURE_SEED repeats the moments of a run.
func TestTorture_LosesNothing(t *testing.T) {
	t.Parallel()
	kills := fromEnv(t, "WEIR_TORTURE_KILLS", 4)
	seed := fromEnv(t, "WEIR_TORTURE_SEED", time.Now().UnixNano()&0xffffff)
	t.Logf("%d kills, WEIR_TORTURE_SEED=%d", kills, seed)
	random := rand.New(rand.NewPCG(uint64(seed), 0))

	s := newSystem(t)
	s.start()
	s.ready()
	s.createKey()
	devices, wait := s.fleet("--devices", "200", "--rate", "800", "--duration", "2h", "--batch", "10", "--connections",
		"16",
		"--duplicates", "2", "--malformed", "1", "--late", "2", "--clock-ahead", "1", "--retry", "--retry-for", "1h",
		"--timeout", "10s")
	for i := range kills {
		if i%4 != 3 { // one in four is killed while it starts
			s.ready()
		}
		time.Sleep(time.Duration(200+random.IntN(4000)) * time.Millisecond)
		s.kill()
		// The store periods decide what a kill interrupts.
		period := []string{"50ms", "300ms", "2s"}[random.IntN(3)]
		s.env = []string{"WEIR_RAW_PERIOD=" + period, "WEIR_ROLLUP_PERIOD=" + period, "WEIR_DEAD_LETTER_PERIOD=" + period}
		s.start()
	}
	s.ready()
	time.Sleep(3 * time.Second) // every device has retried by now
	if err := devices.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	t.Logf("weir fleet:\n%s", wait())
	s.verify(3 * time.Minute)
	s.reconcile()
}

func fromEnv(t *testing.T, name string, otherwise int64) int64 {
	v := os.Getenv(name)
	if v == "" {
		return otherwise
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 {
		t.Fatalf("%s=%q: expected a number", name, v)
	}
	return n
}
