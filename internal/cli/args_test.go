package cli

import (
	"io"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// A flag means the same in front of an argument and behind it, by each of its names.
func TestArguments_FlagsMayFollowThem(t *testing.T) {
	for _, line := range []string{"--file f --many a --many b x", "x --file f --many a --many b", "x -f f -m a -m b",
		"-f f x -m=a --many=b"} {
		ran := false
		app := &cli.App{Writer: io.Discard, Commands: []*cli.Command{{
			Name: "do", HideHelpCommand: true,
			Flags: []cli.Flag{&cli.StringFlag{Name: "file", Aliases: []string{"f"}},
				&cli.StringSliceFlag{Name: "many", Aliases: []string{"m"}}},
			Action: func(c *cli.Context) error {
				ran = true
				args, err := interspersed(c)
				if got := strings.Join(args, " "); err != nil || got != "x" {
					t.Errorf("%s: the arguments are %q, %v", line, got, err)
				}
				if got := strings.Join(c.StringSlice("many"), ""); c.String("file") != "f" || got != "ab" {
					t.Errorf("%s: the flags are %q and %q", line, c.String("file"), got)
				}
				return nil
			},
		}}}
		if err := app.Run(append([]string{"weir", "do"}, strings.Fields(line)...)); err != nil || !ran {
			t.Errorf("%s: %v", line, err)
		}
	}
}
