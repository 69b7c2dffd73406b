package flow

import (
	"testing"
	"time"
)

func TestCircuit_OneProbeAtATime(t *testing.T) {
	var c Circuit
	now := time.Now()
	for range 2 {
		if c.Enter(now) {
			continue
		}
		t.Fatal("a closed circuit held somebody up")
	}
	if !c.Fail(now) || c.Fail(now) {
		t.Fatal("it opens once")
	}
	if c.Enter(now.Add(circuitFirst - 1)) {
		t.Fatal("asked during the pause")
	}
	now = now.Add(circuitFirst)
	if !c.Enter(now) || c.Enter(now) {
		t.Fatal("not exactly one probe")
	}
	for range 20 {
		c.Fail(now)
		now = now.Add(circuitMost)
		if !c.Enter(now) {
			t.Fatal("the pause grew without bound")
		}
	}
	c.Leave()
	if !c.Enter(now) || !c.Succeed() {
		t.Fatal("the probe after a cancelled one was refused")
	}
	for range 2 {
		if !c.Enter(now) {
			t.Fatal("it did not close again")
		}
	}
}

func TestCircuit_OpensAfterFailuresInARow(t *testing.T) {
	c := Circuit{After: 3}
	now := time.Now()
	fail := func(opens bool) {
		t.Helper()
		if !c.Enter(now) || c.Fail(now) != opens {
			t.Fatal("it does not open at the third failure in a row")
		}
	}
	fail(false)
	fail(false)
	c.Succeed()
	fail(false)
	fail(false)
	fail(true)
	if c.Enter(now) {
		t.Fatal("it is not open")
	}
}
