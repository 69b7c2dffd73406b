package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"weir/plugins/operate/erasure"
)

// eraseCommand is `weir erase`: it erases a device, a person or a fleet.
func eraseCommand() *cli.Command {
	return &cli.Command{
		Name:  "erase",
		Usage: "Erase a device, a person or a fleet from every store, and keep it from coming back",
		Description: `
Everything that was received of it until now goes: raw events, dead letters and
what became of them, rollups, alerts, baselines, places in groups and replays.
What comes later is new, and stays. It makes an erasure, shows how it goes, and
ends with it: 0 when it is done, with a receipt on stdout; 1 when a legal hold
refused it; 3 when it could not be made or watched. It takes about three minutes,
and goes on without this command: look with --watch ID.

  weir erase --device pump-7 --fleet plant-1 --reason "request 4711" --dry-run
  weir erase --device pump-7 --fleet plant-1 --reason "request 4711"
  weir erase --person pii-field-k1-… --fleet shop --reason "request 4712"
  weir erase --fleet plant-1 --reason "contract ended" --yes`[1:],
		Flags: append(apiFlags("data directory"),
			dataFlag(),
			&cli.StringFlag{Name: "device", Usage: "the `DEVICE`; without it and --person, the whole fleet"},
			&cli.StringFlag{Name: "person", Usage: "the `ID` of a user, or an anonymous one, as events have it: with " +
				"all aliases and devices"},
			&cli.BoolFlag{Name: "shared-devices", Usage: "of a person: also devices where others were seen"},
			&cli.StringFlag{Name: "fleet", Usage: "the `FLEET`; may be left out of a device where there is one fleet"},
			&cli.StringFlag{Name: "reason", Usage: "`WHY`, for those who read the receipt later"},
			&cli.BoolFlag{Name: "dry-run", Usage: "count what there is, and erase nothing"},
			forceFlag(),
			&cli.BoolFlag{Name: "yes", Usage: "erase a whole fleet without asking"},
			&cli.StringFlag{Name: "watch", Usage: "make no erasure, and watch the one with this `ID`"},
			&cli.BoolFlag{Name: "json", Usage: "print the receipt as JSON"},
			&cli.BoolFlag{Name: "quiet", Usage: "show no progress"},
		),
		Action: func(c *cli.Context) error {
			e, err := erased(c)
			if err != nil {
				return fmt.Errorf("erasing: %w", err)
			}
			if err := printErasure(c, e); err != nil {
				return fmt.Errorf("writing the receipt: %w", err)
			}
			if e.State != erasure.Done {
				return cli.Exit("", exitFinding)
			}
			return nil
		},
	}
}

// erased creates the erasure and returns it when it has ended.
func erased(c *cli.Context) (*erasure.Erasure, error) {
	spec := erasure.Spec{Fleet: c.String("fleet"), Device: c.String("device"), Reason: c.String("reason"),
		Person: c.String("person"), SharedDevices: c.Bool("shared-devices"), DryRun: c.Bool("dry-run")}
	spec.WholeFleet = spec.Device == "" && spec.Person == ""
	switch {
	case c.String("watch") != "":
	case spec.WholeFleet && spec.Fleet == "":
		return nil, usagef("name a device with --device, a person with --person, or a whole fleet with --fleet")
	case spec.Reason == "":
		return nil, usagef("say why with --reason, for those who read the receipt later")
	}
	api, leave, err := adminAPI(c, "erase")
	if err != nil {
		return nil, err
	}
	defer leave()
	client := erasure.Client(api)
	run := func(spec erasure.Spec) (*erasure.Erasure, error) {
		e, err := client.Create(c.Context, spec)
		if err != nil {
			return nil, err
		}
		if !spec.DryRun {
			_, _ = fmt.Fprintf(c.App.ErrWriter, "Erasure %s is queued.\n", e.ID)
		}
		return followed(c, client, e.ID, (*erasure.Erasure).Line)
	}
	if id := c.String("watch"); id != "" {
		return followed(c, client, id, (*erasure.Erasure).Line)
	}
	if !spec.DryRun {
		if err := knownFleet(c, spec.Fleet, keysAt(api)); err != nil {
			return nil, err
		}
	}
	if spec.WholeFleet && !spec.DryRun && !c.Bool("yes") {
		dry := spec
		dry.DryRun = true
		there, err := run(dry)
		if err != nil {
			return nil, err
		}
		if err := confirmed(c, spec.Fleet, there); err != nil {
			return nil, err
		}
	}
	return run(spec)
}

// confirmed shows what the fleet has and asks for confirmation; it returns an error if that is refused or impossible.
func confirmed(c *cli.Context, fleet string, there *erasure.Erasure) error {
	_, _ = fmt.Fprintf(c.App.ErrWriter, "Fleet %q has:\n%s", fleet, countLines(there))
	info, err := os.Stdin.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return usagef("to erase all of it, say --yes")
	}
	_, _ = fmt.Fprintf(c.App.ErrWriter, "To erase all of it, for good, type the fleet's name: ")
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading the answer: %w", err)
	}
	switch strings.TrimSpace(line) {
	case fleet:
		return nil
	case "":
		return errors.New("nothing was erased; to erase all of it without being asked, say --yes")
	}
	return errors.New("that is another name: nothing was erased")
}

func countLines(e *erasure.Erasure) string {
	names := make([]string, 0, len(e.Erased))
	for name := range e.Erased {
		names = append(names, name)
	}
	slices.Sort(names)
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "%12d %s\n", e.Erased[name], strings.ReplaceAll(name, "_", " "))
	}
	if len(names) == 0 {
		b.WriteString("           0 of anything\n")
	}
	return b.String()
}

// printErasure prints the receipt.
func printErasure(c *cli.Context, e *erasure.Erasure) error {
	if c.Bool("json") {
		return printJSON(c.App.Writer, e)
	}
	what := "the whole fleet"
	switch {
	case e.OfAliases > 0:
		what = fmt.Sprintf("one person with %d names and %d devices (subject %s)", e.OfAliases, e.OfDevices, e.Subject)
	case e.Subject != "":
		what = "one device (subject " + e.Subject + ")"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "erasure %s of %s: %s\n", e.ID, what, e.State)
	fmt.Fprintf(&b, "  fleet %s; asked for by %s at %s: %s\n", e.Fleet, e.CreatedBy, e.CreatedAt.Format(time.RFC3339),
		e.Reason)
	at := func(name string, t *time.Time) {
		if t != nil {
			fmt.Fprintf(&b, "  %s %s\n", name, t.UTC().Format(time.RFC3339))
		}
	}
	if e.Error != "" {
		fmt.Fprintf(&b, "  %s\n", e.Error)
	}
	if e.State == erasure.Done {
		if e.DryRun {
			b.WriteString("  nothing was erased; there is:\n")
		} else {
			at("erased, everything that was received until", e.Until)
		}
		b.WriteString(countLines(e))
		if e.SharedLeft > 0 {
			fmt.Fprintf(&b, "  %d devices stay, which were found late and where others were seen, too\n", e.SharedLeft)
		}
		if e.Recounted > 0 {
			fmt.Fprintf(&b, "  %d events that came later were counted again\n", e.Recounted)
		}
		for _, text := range e.Remains {
			fmt.Fprintf(&b, "  stays: %s\n", text)
		}
		at("ended", e.EndedAt)
		at("the log's own retention deletes its last record by", e.LogClearBy)
		at("the claims of its events' ids end by", e.ClaimsClearBy)
	}
	_, err := io.WriteString(c.App.Writer, b.String())
	return err
}
