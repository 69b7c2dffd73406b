package scenarios

import (
	"testing"
	"time"
)

// Two recorded sensors and 500 simulated devices send; one event in a hundred is sent twice, one is malformed, some
// are late, some are ahead of the clock. weir is stopped half way and started again. In the end the stores hold what
// was acknowledged.
func TestRestart_NothingIsLostAcrossARestart(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.start()
	s.ready()
	s.createKey()
	_, wait := s.fleet("--devices", "500", "--rate", "1500", "--events", "24000", "--batch", "20", "--connections", "24",
		"--csv", "testdata/machine_temperature_system_failure.csv", "--csv",
		"testdata/ambient_temperature_system_failure.csv",
		"--duplicates", "1", "--malformed", "1", "--late", "2", "--clock-ahead", "1", "--retry")
	time.Sleep(8 * time.Second)
	s.stop()
	s.start()
	s.ready()
	t.Logf("weir fleet:\n%s", wait())
	s.verify(90 * time.Second)
	s.stop()
	s.verify(0) // again, without a running weir
}
