package scenarios

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
)

// Clients with keep-alive connections send at least 500 events a second while weir is stopped with SIGTERM, four
// times. Every request gets a status, or finds the port closed before it has sent anything. /ready answers 503 while
// events are still accepted. Every accepted event is stored, and reconcile explains every record.
func TestDrain_NoRequestGoesWithoutAVerdict(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.env = []string{"WEIR_DRAIN=2s"}
	s.start()
	s.ready()
	s.createKey()
	for round := range 4 {
		load := newDrainLoad(s)
		load.run(40)
		time.Sleep(2 * time.Second)
		before := load.accepted.Load()
		if before == 0 {
			t.Fatalf("round %d: nothing was accepted before the stop", round)
		}
		load.term.Store(true)
		if err := s.up.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := <-s.done; err != nil {
			t.Fatalf("weir up after SIGTERM: %v", err)
		}
		s.up = nil
		load.end()
		t.Logf("round %d: %d requests accepted, %d after SIGTERM; %d refused with a status, %d not connected", round,
			load.accepted.Load(), load.accepted.Load()-before, load.refused.Load(), load.closed.Load())
		for _, cut := range load.cut {
			t.Errorf("round %d: a request without a verdict: %s", round, cut)
		}
		if load.accepted.Load() == before {
			t.Errorf("round %d: nothing was taken after SIGTERM", round)
		}
		if !load.unready.Load() {
			t.Errorf("round %d: /ready never said 503 while events were taken", round)
		}
		s.start()
		s.ready()
	}
	s.reconcile()
	s.stop()
}

// A second SIGTERM ends the drain delay; the rest of the stop is as clean as without it.
func TestDrain_ASecondSignalEndsTheWait(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.env = []string{"WEIR_DRAIN=10m"}
	s.start()
	s.ready()
	if err := s.up.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.unready()
	time.Sleep(time.Second) // the engine logs that it waits
	s.stop()
}

// An orchestrator that gives weir too little time kills it during the drain delay, while it still accepts events.
// What it acknowledged until then is stored and counted once.
func TestDrain_AKillInTheWaitLosesNothing(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.env = []string{"WEIR_DRAIN=10m"}
	s.start()
	s.ready()
	s.createKey()
	devices, wait := s.fleet("--devices", "20", "--rate", "500", "--duration", "1h", "--batch", "10", "--retry",
		"--retry-for", "5m", "--timeout", "15s")
	took := func(when string) {
		before := s.metric("weir_gate_accepted_events_total")
		s.until("nothing was taken "+when, func() bool { return s.metric("weir_gate_accepted_events_total") > before+200 })
	}
	took("before SIGTERM")
	if err := s.up.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.unready()
	took("after SIGTERM")
	s.kill()
	s.start()
	s.ready()
	took("after the kill")
	if err := devices.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	t.Logf("weir fleet, over a kill:\n%s", wait())
	s.verify(time.Minute)
	s.reconcile()
}

// unready waits until the gate's /ready answers 503. The gate must keep serving meanwhile.
func (s *system) unready() {
	s.t.Helper()
	s.until("/ready is not 503 after SIGTERM", func() bool {
		resp, err := http.Get("http://" + s.addresses[0] + "/ready")
		if err != nil {
			s.t.Fatalf("the gate does not serve in its delay: %v", err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusServiceUnavailable
	})
}

// drainLoad is a set of clients that each post two events, pause for 100 ms, and post again.
type drainLoad struct {
	s                         *system
	at                        string // address of the gate
	client                    *http.Client
	term, over, unready       atomic.Bool
	accepted, refused, closed atomic.Int64
	running                   sync.WaitGroup
	mu                        sync.Mutex
	cut                       []string
}

func newDrainLoad(s *system) *drainLoad {
	return &drainLoad{s: s, at: s.addresses[0], client: &http.Client{Timeout: 60 * time.Second,
		Transport: &http.Transport{MaxIdleConnsPerHost: 100}}}
}

func (l *drainLoad) run(clients int) {
	for i := range clients {
		l.running.Go(func() {
			time.Sleep(time.Duration(i) * 100 * time.Millisecond / time.Duration(clients))
			for !l.over.Load() {
				l.post(i)
				time.Sleep(100 * time.Millisecond)
			}
		})
	}
	l.running.Go(func() {
		for !l.over.Load() {
			if resp, err := http.Get("http://" + l.at + "/ready"); err == nil {
				_ = resp.Body.Close()
				if l.term.Load() && resp.StatusCode == http.StatusServiceUnavailable {
					l.unready.Store(true)
				}
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
}

func (l *drainLoad) end() {
	l.over.Store(true)
	l.running.Wait()
	l.client.CloseIdleConnections()
}

// post sends two events. The request has no GetBody: with one, the transport would hide a closed connection by
// sending the request again on another.
func (l *drainLoad) post(device int) {
	var events []map[string]any
	for range 2 {
		events = append(events, map[string]any{"event_id": uuid.NewString(), "device_id": fmt.Sprintf("drain-%d", device),
			"device_firmware_version": "1.4.2", "timestamp": time.Now().UTC().Format(time.RFC3339Nano),
			"metrics": map[string]any{"cpu_temp": 40.5, "battery_voltage": 3.7, "vibration": 0.2}})
	}
	body, err := json.Marshal(events)
	if err != nil {
		l.fail(err.Error())
		return
	}
	req, err := http.NewRequest(http.MethodPost, "http://"+l.at+"/v1/events",
		io.NopCloser(bytes.NewReader(body)))
	if err != nil {
		l.fail(err.Error())
		return
	}
	req.ContentLength = int64(len(body))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-API-Key", l.s.key)
	connected := false
	reused := false
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) { connected, reused = true, i.Reused }}))
	resp, err := l.client.Do(req)
	var dial *net.OpError
	switch {
	case err == nil:
		text, readErr := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		switch {
		case readErr != nil:
			l.fail("an answer was cut: " + readErr.Error())
		case resp.StatusCode == http.StatusAccepted:
			l.accepted.Add(1)
		case resp.StatusCode == http.StatusServiceUnavailable:
			l.refused.Add(1)
		default:
			l.fail(fmt.Sprintf("%d %s", resp.StatusCode, strings.TrimSpace(string(text))))
		}
	case !connected && errors.As(err, &dial) && dial.Op == "dial":
		l.closed.Add(1)
	default:
		l.fail(fmt.Sprintf("%v (connected %t, reused %t)", err, connected, reused))
	}
}

func (l *drainLoad) fail(why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = append(l.cut, why)
}
