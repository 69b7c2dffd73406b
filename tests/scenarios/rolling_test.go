package scenarios

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/tests/integration/built"
)

// Three gates behind a balancer that reacts 2 s late are restarted one after another, while clients send 1,000 events
// a second. Every request gets a status, the balancer's port is never closed, and reconcile explains every record.
func TestRolling_GatesBehindALateBalancerLoseNoRequest(t *testing.T) {
	s := newSystem(t)
	s.start() // the broker and the processing streams
	s.ready()
	s.createKey()
	gates := make([]*gateProcess, 3)
	addresses := make([]string, len(gates))
	for i := range gates {
		gates[i] = s.gate(fmt.Sprintf("gate-%d", i+1))
		gates[i].start()
		addresses[i] = gates[i].ingest
	}
	b := newBalancer(t, 2*time.Second, addresses...)
	all := func() bool { return b.takes(addresses[0]) && b.takes(addresses[1]) && b.takes(addresses[2]) }
	s.until("the balancer does not know all gates", all)

	load := newDrainLoad(s)
	load.at = b.addr
	// Clients close idle connections after a second. A connection that is kept open longer may be closed by a
	// stopping gate just as a request is sent on it.
	load.client.Transport = &http.Transport{MaxIdleConnsPerHost: 100, IdleConnTimeout: time.Second}
	load.run(80) // 80 clients, two events a request, 100 ms between requests
	began := time.Now()
	defer load.end()
	took := func(why string) {
		before := load.accepted.Load()
		s.until("nothing was taken "+why, func() bool { return load.accepted.Load() > before+50 })
	}
	took("before the first restart")
	for _, g := range gates {
		g.stop()
		took("with a gate less")
		g.start()
		s.until("the balancer does not know "+g.name+" again", all)
		took("after the restart of " + g.name)
	}
	load.end()
	t.Logf("%d requests of two events were accepted, %.0f events a second; %d refused with a status", load.accepted.Load(),
		2*float64(load.accepted.Load())/time.Since(began).Seconds(), load.refused.Load())
	for _, cut := range load.cut {
		t.Errorf("a request without a verdict: %s", cut)
	}
	if n := load.closed.Load(); n > 0 {
		t.Errorf("%d requests found the balancer's port closed", n)
	}
	for _, g := range gates {
		g.stop()
	}
	s.reconcile()
	s.stop()
}

// gateProcess is a gate in a process of its own, beside the `weir up` whose log it writes to.
type gateProcess struct {
	s            *system
	name, ingest string
	env          string
	cmd          *exec.Cmd
	done         chan error
}

func (s *system) gate(name string) *gateProcess {
	s.t.Helper()
	g := &gateProcess{s: s, name: name, env: filepath.Join(s.dir, name+".env")}
	var ops string
	built.Addresses(s.t, &g.ingest, &ops)
	control := "sqlite://" + filepath.Join(s.data, "control.db")
	env := append(profile(s.t), "WEIR_BROKERS="+s.addresses[3], "WEIR_KAFKA_SASL=SCRAM-SHA-512", "WEIR_KAFKA_USER=weir",
		"WEIR_KAFKA_PASSWORD_FILE="+filepath.Join(s.data, "broker.password"), "WEIR_CONTROL_URL="+control,
		"WEIR_SCHEMAS_URL="+control, "WEIR_SCHEMAS_CACHE="+filepath.Join(s.dir, name+"-schemas"),
		"WEIR_INGEST_ADDRESS="+g.ingest, "WEIR_OPS_ADDRESS="+ops)
	if err := os.WriteFile(g.env, []byte(strings.Join(env, "\n")+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if g.cmd != nil {
			_ = g.cmd.Process.Kill() // it may have ended already
			<-g.done
		}
		if s.t.Failed() {
			s.t.Logf("the end of %s's log:\n%s", name, tail(filepath.Join(s.dir, name+".log"), 20))
		}
	})
	return g
}

// start starts the gate and waits until it is ready.
func (g *gateProcess) start() {
	g.s.t.Helper()
	log, err := os.OpenFile(filepath.Join(g.s.dir, g.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		g.s.t.Fatal(err)
	}
	defer log.Close()
	g.cmd = exec.Command(g.s.bin, "role", "-e", g.env, "ingest")
	g.cmd.Dir, g.cmd.Stdout, g.cmd.Stderr = g.s.dir, log, log
	if err := g.cmd.Start(); err != nil {
		g.cmd = nil
		g.s.t.Fatal(err)
	}
	g.done = make(chan error, 1)
	go func(cmd *exec.Cmd, done chan error) { done <- cmd.Wait() }(g.cmd, g.done)
	g.s.until(g.name+" is not ready", func() bool {
		resp, err := http.Get("http://" + g.ingest + "/ready")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// stop ends the gate with SIGTERM and expects a clean exit.
func (g *gateProcess) stop() {
	g.s.t.Helper()
	if err := g.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		g.s.t.Fatalf("stopping %s: %v", g.name, err)
	}
	select {
	case err := <-g.done:
		g.cmd = nil
		if err != nil {
			g.s.t.Fatalf("%s after SIGTERM: %v", g.name, err)
		}
	case <-time.After(time.Minute):
		g.s.t.Fatalf("%s did not end within a minute after SIGTERM", g.name)
	}
}
