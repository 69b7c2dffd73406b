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
	takesRequests = regexp.MustCompile(`(?m)^ +(- )?(gate|api|http_server):`)
	hasDelay      = regexp.MustCompile(`(?m)^shutdown_delay:`)
	drainDelay    = regexp.MustCompile(`(?m)^shutdown_delay: *\$\{` + drainVariable)
	printsEvents  = regexp.MustCompile(`\bstdout\b`)
)

// shutdownDelay are the flags by which streams run on after SIGTERM, for clients
// to go elsewhere. Of several, what they share says so (configs/service.yaml), and
// they have no such delay where no stream takes requests; a lone one has it where
// it does. A config that says itself how long is left alone.
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

// anyHas tells whether one of the configs, or of those in a folder, matches.
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
