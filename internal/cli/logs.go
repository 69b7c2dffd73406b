package cli

import (
	"github.com/urfave/cli/v2"

	"weir/internal/event"
)

const (
	flagLog   = "log"
	flagUsers = "users"
)

// logFlag selects the log of a command that works on one at a time.
func logFlag() cli.Flag {
	return &cli.StringFlag{Name: flagLog, Usage: "`NAME` of the log: " + event.LogTelemetry + ", or " + event.LogUsers +
		" where events about people have streams of their own; telemetry when not given"}
}

// usersFlag is the former, hidden name of --log user-events.
func usersFlag() cli.Flag { return &cli.BoolFlag{Name: flagUsers, Hidden: true} }

// logOf returns the log that the flags select.
func logOf(c *cli.Context) (event.Log, error) {
	name := c.String(flagLog)
	if c.Bool(flagUsers) && name == "" {
		name = event.LogUsers
	}
	log, err := event.LogOf(name)
	if err != nil {
		return log, usagef("--log: %w", err)
	}
	return log, nil
}

// keptOf returns the URLs of the raw and dead-letter stores of the selected log in a data directory.
func keptOf(c *cli.Context, dir DataDir) (raw, deadLetters string, err error) {
	log, err := logOf(c)
	switch {
	case err != nil:
		return "", "", err
	case log.Name != event.LogUsers:
		return dir.rawURL(), dir.deadLetterURL(), nil
	case !isDir(dir.path("user-raw")):
		return "", "", usagef("data directory %s has no events about people: they need streams of their own, which "+
			"configs/people has", dir)
	}
	return dir.userRawURL(), dir.userDeadLetterURL(), nil
}
