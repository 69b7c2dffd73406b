package cli

import (
	"os"

	"github.com/urfave/cli/v2"

	"weir/plugins/operate/replay"
)

// patchWorker is the hidden command in which a redrive runs a patch, as a process of its own.
func patchWorker() *cli.Command {
	return &cli.Command{
		Name: replay.WorkerVerb, Hidden: true,
		Usage:  "Patch the events of a redrive, which starts this itself",
		Action: func(*cli.Context) error { return replay.PatchWorker(os.Stdin, os.Stdout) },
	}
}
