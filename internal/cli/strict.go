package cli

import (
	"context"
	"math"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// strict makes a command and its subcommands reject superfluous arguments, negative numbers and durations, and
// invalid choices. Their errors end with the codes of exit.go, and their output is printable.
func strict(cmd *cli.Command) *cli.Command {
	cmd.HideHelpCommand = true // use --help; the word help is an argument
	cmd.OnUsageError = func(c *cli.Context, err error, _ bool) error {
		return cli.Exit(printableError{usagef("%w: see %s --help", err, c.Command.HelpName)}, exitUsage)
	}
	for _, sub := range cmd.Subcommands {
		strict(sub)
	}
	required := required(cmd)
	action := cmd.Action
	if len(cmd.Subcommands) > 0 {
		action = func(c *cli.Context) error {
			if c.NArg() > 0 {
				return usagef("there is no command %s %q: see %s --help", c.Command.HelpName, c.Args().First(), c.Command.HelpName)
			}
			return cli.ShowSubcommandHelp(c)
		}
	}
	cmd.Action = func(c *cli.Context) error {
		printable(c)
		err := checked(c, required)
		if err == nil {
			err = action(c)
		}
		if code := ExitCode(err); code != 0 {
			return cli.Exit(printableError{err}, code)
		}
		return nil
	}
	return cmd
}

// required returns the required flags and clears the mark in the cli package, which would print the whole help before
// the error.
func required(cmd *cli.Command) (names []string) {
	for _, f := range cmd.Flags {
		if s, is := f.(*cli.StringFlag); is && s.Required {
			s.Required = false
			names = append(names, s.Name)
		}
	}
	return names
}

type argumentsKey struct{}

// arguments returns the command's arguments without the flags between them.
func arguments(c *cli.Context) []string {
	args, _ := c.Context.Value(argumentsKey{}).([]string)
	return args
}

// checked validates a whole command line before anything is done.
func checked(c *cli.Context, required []string) error {
	if len(c.Command.Subcommands) > 0 {
		return nil
	}
	args, err := interspersed(c)
	if err != nil {
		return usageError{err}
	}
	takes := strings.Fields(c.Command.ArgsUsage)
	// Optional arguments come last.
	needs := slices.IndexFunc(takes, func(a string) bool { return strings.HasPrefix(a, "[") })
	if needs < 0 {
		needs = len(takes)
	}
	many := len(takes) > 0 && strings.Contains(takes[len(takes)-1], "…") // the last may be repeated
	switch {
	case len(args) > len(takes) && !many:
		return usagef("unexpected argument %q: %s takes %d, and flags begin with --; see --help", args[len(takes)],
			c.Command.HelpName, len(takes))
	case len(args) < needs:
		return usagef("an argument is missing: %s %s", c.Command.HelpName, c.Command.ArgsUsage)
	}
	for _, name := range required {
		if !c.IsSet(name) || c.String(name) == "" {
			return usagef("--%s is missing: see %s --help", name, c.Command.HelpName)
		}
	}
	for _, f := range c.Command.Flags {
		if err := checkFlag(c, f); err != nil {
			return err
		}
	}
	c.Context = context.WithValue(c.Context, argumentsKey{}, args)
	return nil
}

func checkFlag(c *cli.Context, f cli.Flag) error {
	name := f.Names()[0]
	negative := false
	switch f.(type) {
	case *cli.IntFlag:
		negative = c.Int(name) < 0
	case *cli.Int64Flag:
		negative = c.Int64(name) < 0
	case *cli.DurationFlag:
		negative = c.Duration(name) < 0
	case *cli.Float64Flag:
		v := c.Float64(name)
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return usagef("reading --%s: expected a number", name)
		}
		negative = v < 0
	}
	if set, is := f.(cli.ActionableFlag); is && c.IsSet(name) { // also for flags after an argument
		if err := set.RunAction(c); err != nil {
			return err
		}
	}
	if negative {
		return usagef("reading --%s: it cannot be negative", name)
	}
	return nil
}

// choice returns a flag with a fixed set of values; the first is the default.
func choice(name, usage string, of ...string) *cli.StringFlag {
	return &cli.StringFlag{
		Name: name, Value: of[0], Usage: usage + ": " + strings.Join(of, ", "),
		Action: func(_ *cli.Context, v string) error { return oneOf(name, v, of) },
	}
}

func oneOf(name, given string, of []string) error {
	if slices.Contains(of, given) {
		return nil
	}
	return usagef("reading --%s: %q is none of %s", name, given, strings.Join(of, ", "))
}
