package cli

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"weir/plugins/operate/replay"
)

// estimated prints what a job would read and write, without creating it.
func estimated(c *cli.Context) error {
	spec, err := replaySpec(c)
	if err != nil {
		return err
	}
	spec.Reason = cmp.Or(spec.Reason, "an estimate")
	spec.DryRun = false // estimate the real job
	if err := spec.Check(); err != nil {
		return usageError{err}
	}
	api, leave, err := adminAPI(c, "replay")
	if err != nil {
		return err
	}
	defer leave()
	e, err := replay.Ask(c.Context, api, spec)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, e)
	}
	_, err = io.WriteString(c.App.Writer, estimateText(e))
	return err
}

func estimateText(e *replay.Estimate) string {
	var b strings.Builder
	fmt.Fprintf(&b, "a %s ", e.Mode)
	if e.Events != nil {
		fmt.Fprintf(&b, "reads about %d events, of %d bytes in %d objects, ", *e.Events, *e.Bytes, *e.Objects)
	}
	if e.Seconds != nil {
		fmt.Fprintf(&b, "takes about %s, ", time.Duration(*e.Seconds*float64(time.Second)).Round(time.Second))
	}
	fmt.Fprintf(&b, "and %s\n", e.Writes.Does)
	for _, what := range slices.Sorted(maps.Keys(e.Unknown)) {
		fmt.Fprintf(&b, "  %s: %s\n", what, e.Unknown[what])
	}
	b.WriteString("nothing was made, and nothing changed\n")
	return b.String()
}
