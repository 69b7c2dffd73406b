package scenarios

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
)

// What an image asks with: 0 of a weir that is ready, 1 of one that is not there.
func TestHealth_IsThatOfTheRunningWeir(t *testing.T) {
	s := newSystem(t)
	s.start()
	s.ready()
	for _, args := range [][]string{{"--data", s.data}, {"--ready", "--data", s.data},
		{"--ready", "--ops", s.addresses[2]}} {
		if out, err := s.weir(append([]string{"health"}, args...)...); err != nil || strings.TrimSpace(out) != "OK" {
			t.Errorf("health %v: %q %v", args, out, err)
		}
	}
	s.stop()
	for _, args := range [][]string{{"--data", s.data}, {"--ready", "--ops", s.addresses[2]}} {
		_, err := s.weir(append([]string{"health"}, args...)...)
		exit := new(exec.ExitError)
		if !errors.As(err, &exit) || exit.ExitCode() != 1 {
			t.Errorf("health %v of a weir that ended: %v, expected exit code 1", args, err)
		}
	}
}
