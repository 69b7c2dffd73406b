package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"
)

// drainVariable is for how long everything runs on after SIGTERM.
const drainVariable = "WEIR_DRAIN"

var (
	hasGate  = regexp.MustCompile(`(?m)^ +(- )?gate:`)
	hasDelay = regexp.MustCompile(`(?m)^shutdown_delay:`)
)

// shutdownDelay are the flags by which a lone stream with a gate runs on after
// SIGTERM, as configs/service.yaml says for several.
func shutdownDelay(configs []string) ([]string, error) {
	delay, set := os.LookupEnv(drainVariable)
	if !set || delay == "" {
		return nil, nil
	}
	if d, err := time.ParseDuration(delay); err != nil || d < 0 {
		return nil, usagef("reading %s: expected a duration such as 5s, found %q", drainVariable, delay)
	}
	for _, path := range configs {
		raw, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("reading the configs: %w", err)
		}
		if hasGate.Match(raw) && !hasDelay.Match(raw) {
			return []string{"--set", "shutdown_delay=" + delay}, nil
		}
	}
	return nil, nil
}

// endsEarly lets a signal end the process at once while streams are being made:
// the engine listens for signals only when they are, and a gate that is up before
// it would keep the signal from doing what it does.
func endsEarly(ctx context.Context) context.Context {
	early, made := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(early, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case s := <-early:
			select {
			case <-made: // the engine has it
				return
			default:
			}
			if number, is := s.(syscall.Signal); is {
				os.Exit(128 + int(number))
			}
		case <-made:
		}
	}()
	return whenStarted(ctx, func() { signal.Stop(early); close(made) })
}
