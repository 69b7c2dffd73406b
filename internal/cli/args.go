package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// interspersed returns a command's arguments and sets the flags between or after them, which the cli package would
// treat as arguments.
func interspersed(c *cli.Context) (args []string, err error) {
	rest := c.Args().Slice()
	for len(rest) > 0 {
		arg := rest[0]
		rest = rest[1:]
		if !strings.HasPrefix(arg, "-") || arg == "-" {
			args = append(args, arg)
			continue
		}
		name, value, given := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		flag := slices.IndexFunc(c.Command.Flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) })
		if flag < 0 {
			return nil, fmt.Errorf("there is no flag %s: see --help", arg)
		}
		if !given {
			if _, is := c.Command.Flags[flag].(*cli.BoolFlag); is {
				value = "true"
			} else if len(rest) == 0 {
				return nil, fmt.Errorf("flag %s needs a value", arg)
			} else {
				value, rest = rest[0], rest[1:]
			}
		}
		// Set it by its first name: the cli package has already linked the other names to it.
		if err := c.Set(c.Command.Flags[flag].Names()[0], value); err != nil {
			return nil, fmt.Errorf("reading flag %s: %w", arg, err)
		}
	}
	return args, nil
}
