package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"weir/internal/event"
	"weir/internal/platform/text"
	"weir/plugins/operate/replay"
)

// replayCommand is `weir replay`: jobs that process stored data again.
func replayCommand() *cli.Command {
	return &cli.Command{
		Name:  "replay",
		Usage: "Process stored events again, rebuild rollups, redrive dead letters, or enrich later",
		Description: `
It makes a job, shows how it goes, and ends with it: 0 when the job is done, 1
when it failed or was cancelled, 3 when it could not be made or watched. The job
goes on without this command: interrupt it, and look with --watch ID.

  weir replay --mode reprocess --from 2026-11-20T10:00:00Z --to 2026-11-20T11:00:00Z --reason "new consumer"
  weir replay --mode rebuild --from … --to … --fleet plant-1 --reason "new metric"
  weir replay --mode redrive --stage ingest --code schema_violation --dry-run --reason "what is there"
  weir replay --log user-events --mode redrive --code schema_violation --reason "the app was fixed"
  weir replay --log user-events --mode enrich --from … --to … --lookup profile --reason "profiles were away"
  weir replay --watch 0197b2f4-5d0e-7c3a-9f1e-3b5a7c9d1e2f`[1:],
		Flags: append(apiFlags("data directory"),
			dataFlag(), logFlag(),
			choice("mode", "`MODE`", string(replay.Reprocess), string(replay.Rebuild), string(replay.Redrive),
				string(replay.Enrich)),
			&cli.StringFlag{Name: "from", Usage: "the first `TIME`, RFC 3339; of redrives, when dead letters failed"},
			&cli.StringFlag{Name: "to", Usage: "the first `TIME` not wanted any more"},
			&cli.StringSliceFlag{Name: "device", Usage: "only this `DEVICE`; may be given several times"},
			&cli.StringFlag{Name: "group", Usage: "only the devices of this `GROUP`"},
			&cli.StringFlag{Name: "fleet", Usage: "only this `FLEET`"},
			&cli.StringSliceFlag{Name: "target", Usage: "`WHO` handles the events: " + strings.Join(event.Targets(), ", ") +
				"; raw and rollup unless said, so that alerts stay muted; of user-events, only raw"},
			&cli.StringSliceFlag{Name: "stage", Usage: "redrive: only dead letters of this `STAGE`"},
			&cli.StringSliceFlag{Name: "code", Usage: "redrive: only dead letters with this reason `CODE`"},
			&cli.StringSliceFlag{Name: "lookup", Usage: "enrich: only this `LOOKUP`; may be given several times"},
			&cli.StringFlag{Name: "patch", Usage: "redrive: a Bloblang `MAPPING` that repairs each event, or @FILE; what it " +
				"does not assign stays"},
			&cli.IntFlag{Name: "rate", Usage: "`EVENTS` a second at most, instead of the runner's"},
			&cli.BoolFlag{Name: "dry-run", Usage: "make no job that changes anything: say what it would read and write; of a " +
				"redrive, also show what is there"},
			&cli.StringFlag{Name: "reason", Usage: "`WHY`, for those who read the list later"},
			&cli.StringFlag{Name: "watch", Usage: "make no job, and watch the one with this `ID`"},
			&cli.BoolFlag{Name: "json", Usage: "print the job as JSON when it has ended"},
			&cli.BoolFlag{Name: "quiet", Usage: "show no progress"},
		),
		Action: runReplay,
	}
}

func runReplay(c *cli.Context) error {
	if c.Bool("dry-run") && c.String("watch") == "" && c.String("mode") != string(replay.Redrive) {
		if err := estimated(c); err != nil {
			return fmt.Errorf("estimating a replay: %w", err)
		}
		return nil
	}
	j, err := replayed(c)
	if err != nil {
		return fmt.Errorf("replaying: %w", err)
	}
	if err := printReplay(c, j); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	if j.State != replay.Done {
		return cli.Exit("", exitFinding)
	}
	return nil
}

// replayed creates the job, or watches an existing one, and returns it when it has ended.
func replayed(c *cli.Context) (*replay.Job, error) {
	id := c.String("watch")
	spec, err := replaySpec(c)
	if err != nil {
		return nil, err
	}
	if id == "" {
		if err := spec.Check(); err != nil {
			return nil, usageError{err}
		}
	}
	api, leave, err := adminAPI(c, "replay")
	if err != nil {
		return nil, err
	}
	defer leave()
	client := replay.Client(api)
	if id == "" {
		j, err := client.Create(c.Context, spec)
		if err != nil {
			return nil, err
		}
		id = j.ID
		_, _ = fmt.Fprintf(c.App.ErrWriter, "Replay %s is queued.\n", id)
	}
	return followed(c, client, id, (*replay.Job).Line)
}

// printReplay prints a finished job.
func printReplay(c *cli.Context, j *replay.Job) error {
	if c.Bool("json") {
		return printJSON(c.App.Writer, j)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "replay %s %s\n", j.ID, j.Line())
	if j.Error != "" {
		fmt.Fprintf(&b, "  failed: %s\n", j.Error)
	}
	for _, a := range j.Progress.Lookups {
		fmt.Fprintf(&b, "  look-up %s: %d events looked at: %s\n", a.Lookup, a.LookedAt, a.Line())
	}
	for _, r := range j.Progress.Reasons {
		fmt.Fprintf(&b, "  %6d refused: %q\n", r.Count, r.Reason)
	}
	for _, w := range j.Left {
		fmt.Fprintf(&b, "  left as it was: fleet %s, device %s, %s: not all of its events are stored yet\n", w.Fleet,
			w.Device, w.Bucket.Format(time.RFC3339))
	}
	if v := j.Preview; v != nil {
		fmt.Fprintf(&b, "  %d dead letters, %d of them resolved before, %d of stages that take nothing back\n", v.Letters,
			v.Resolved, v.Foreign)
		for _, n := range v.Counts {
			fmt.Fprintf(&b, "  %6d  fleet %s, stage %s, %s\n", n.Count, n.Fleet, n.Stage, n.Code)
		}
		for _, s := range v.Samples {
			fmt.Fprintf(&b, "  %s %s: %s\n    %s\n", s.ID, s.Device, s.Message, s.Original)
			if s.Patched != nil {
				fmt.Fprintf(&b, "    patched: %s\n", *s.Patched)
			}
			if s.Problem != "" {
				fmt.Fprintf(&b, "    %s\n", s.Problem)
			}
		}
	}
	_, err := io.WriteString(c.App.Writer, b.String())
	return err
}

func replaySpec(c *cli.Context) (replay.Spec, error) {
	if _, err := logOf(c); err != nil {
		return replay.Spec{}, err
	}
	spec := replay.Spec{
		Mode: replay.Mode(c.String("mode")), Log: c.String(flagLog), Fleet: c.String("fleet"), Group: c.String("group"),
		Devices: c.StringSlice("device"),
		Targets: c.StringSlice("target"), Stages: c.StringSlice("stage"), Patch: c.String("patch"), Rate: c.Int("rate"),
		Lookups: c.StringSlice("lookup"),
		DryRun:  c.Bool("dry-run"), Reason: c.String("reason"),
	}
	for _, code := range c.StringSlice("code") {
		spec.Codes = append(spec.Codes, event.Code(code))
	}
	for name, to := range map[string]**time.Time{"from": &spec.From, "to": &spec.To} {
		if given := c.String(name); given != "" {
			t, ok := text.ParseTime(given)
			if !ok {
				return spec, usagef("reading --%s: %q is no RFC 3339 time with a zone", name, given)
			}
			*to = &t
		}
	}
	var err error
	spec.Patch, err = patchOf(spec.Patch)
	return spec, err
}

// patchOf returns a patch, given directly or as @FILE.
func patchOf(given string) (string, error) {
	file, ok := strings.CutPrefix(given, "@")
	if !ok {
		return given, nil
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return "", usagef("reading the patch: %w", err)
	}
	return string(text.WithoutBOM(raw)), nil
}
