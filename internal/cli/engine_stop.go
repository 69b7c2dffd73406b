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

// drainVariable says how long streams keep running after SIGTERM.
const drainVariable = "WEIR_DRAIN"

var (
	takesRequests = regexp.MustCompile(`(?m)^ +(- )?(gate|api|http_server):`)
	hasDelay      = regexp.MustCompile(`(?m)^shutdown_delay:`)
	drainDelay    = regexp.MustCompile(`(?m)^shutdown_delay: *\$\{` + drainVariable)
	printsEvents  = regexp.MustCompile(`\bstdout\b`)
)

// shutdownDelay returns the flags that set how long streams keep running after SIGTERM, so that clients can go
// elsewhere. For several streams the shared config has the delay (configs/service.yaml), and it is turned off if no
// stream accepts requests; for a single stream it is added if that stream accepts requests. A config with its own
// delay is unchanged.
func shutdownDelay(l launch) ([]string, error) {
	delay := os.Getenv(drainVariable)
	if d, err := time.ParseDuration(delay); delay != "" && (err != nil || d < 0) {
		return nil, usagef("reading %s: expected a duration such as 5s, found %q", drainVariable, delay)
	}
	takes, err := anyHas(takesRequests, l.configs)
	if err != nil {
		return nil, err
	}
	switch l.verb {
	case "run":
		own, err := anyHas(hasDelay, l.configs)
		if takes && !own && delay != "" && err == nil {
			return []string{"--set", "shutdown_delay=" + delay}, nil
		}
		return nil, err
	case "streams":
		if takes || l.main == "" {
			return nil, nil
		}
		ours, err := anyHas(drainDelay, []string{l.main})
		if ours && err == nil {
			return []string{"--set", "shutdown_delay=0s"}, nil
		}
		return nil, err
	}
	return nil, nil
}

// anyHas tells whether any config, including those in folders, matches.
func anyHas(what *regexp.Regexp, configs []string) (bool, error) {
	files, err := configFiles(configs)
	if err != nil {
		return false, err
	}
	for _, path := range files {
		raw, err := os.ReadFile(path)
		if err != nil {
			return false, fmt.Errorf("reading the configs: %w", err)
		}
		if what.Match(raw) {
			return true, nil
		}
	}
	return false, nil
}

// endsEarly lets a signal end the process at once while streams are being created. The engine handles signals only
// afterwards, and a gate that is already up would otherwise keep a signal from having any effect.
func endsEarly(ctx context.Context) context.Context {
	early, made := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(early, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case s := <-early:
			select {
			case <-made: // the engine handles the signal
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
