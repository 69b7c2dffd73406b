package cli

import (
	"bufio"
	"fmt"

	"github.com/urfave/cli/v2"

	"weir/internal/control/auditlog"
	"weir/internal/control/consent"
	"weir/internal/control/identity"
	"weir/internal/platform/sqldb"
	"weir/plugins/operate/subject"
	"weir/plugins/store/lake"
)

// exportSubjectCommand is `weir export-subject`: it exports what is stored about a person.
func exportSubjectCommand() *cli.Command {
	return &cli.Command{
		Name:  "export-subject",
		Usage: "Write what is kept of a person, for that person, and enter that in the audit log",
		Description: `
It writes a JSON object a line: who the person is, what they said of consents,
their events and their dead letters, as they are stored, and at the end how many
there were. Events of devices that others used, too, which name nobody are left
out, and counted. Before anything is written, the audit log has who asked and
why. It may run beside a running weir.

  weir export-subject --person pii-field-k1-… --fleet shop --reason "request 4713" > person.ndjson
  weir export-subject --person a-77 --fleet shop --reason "request 4713" \
    --control postgres://… --raw s3://weir-raw --dead-letter s3://weir-dead-letter`[1:],
		Flags: []cli.Flag{
			dataFlag(), logFlag(), usersFlag(),
			&cli.StringFlag{Name: "fleet", Required: true, Usage: "the `FLEET`"},
			&cli.StringFlag{Name: "person", Required: true, Usage: "the `ID` of a user, or an anonymous one, as events have it"},
			&cli.StringFlag{Name: "reason", Required: true, Usage: "`WHY`, for those who read the audit log later"},
			&cli.StringFlag{Name: "user", Value: "/user/id", Usage: "where events have the id of the user, a JSON `POINTER`"},
			&cli.StringFlag{Name: "anonymous", Value: "/user/anonymous_id", Usage: "where they have the anonymous id"},
			&cli.StringFlag{Name: "control", Usage: "`URL` of the control store, instead of a data directory"},
			&cli.StringFlag{Name: "raw", Usage: "`URL` of the raw store, with --control"},
			&cli.StringFlag{Name: "dead-letter", Usage: "`URL` of the dead-letter store, with --control"},
		},
		Action: func(c *cli.Context) error {
			if err := exportSubject(c); err != nil {
				return fmt.Errorf("exporting what is kept of a person: %w", err)
			}
			return nil
		},
	}
}

func exportSubject(c *cli.Context) error {
	control, events, letters := c.String("control"), c.String("raw"), c.String("dead-letter")
	switch {
	case control == "":
		dir, err := weirDir(c)
		if err != nil {
			return err
		}
		control = dir.controlURL()
		if events, letters, err = keptOf(c, dir); err != nil {
			return err
		}
	case events == "" || letters == "":
		return usagef("with --control, name the stores too: --raw URL and --dead-letter URL")
	}
	db, err := sqldb.Open(c.Context, control)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }() // the entry is committed
	s := subject.Stores{User: c.String("user"), Anonymous: c.String("anonymous")}
	if s.Identities, err = identity.Open(c.Context, db); err != nil {
		return err
	}
	if s.Consents, err = consent.Open(c.Context, db); err != nil {
		return err
	}
	for url, to := range map[string]**lake.Store{events: &s.Raw, letters: &s.DeadLetters} {
		if *to, err = lake.OpenReading(c.Context, url); err != nil {
			return err
		}
		defer func() { _ = (*to).Close() }() // it was only read
	}
	if err := recorded(c.Context, db, "export-subject", map[string]any{"fleet": c.String("fleet"),
		"person": auditlog.Text(c.String("person")), "reason": auditlog.Text(c.String("reason"))}, nil); err != nil {
		return err
	}
	out := bufio.NewWriter(c.App.Writer)
	if _, err := subject.Export(c.Context, s, c.String("fleet"), c.String("person"), out); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("writing it: %w", err)
	}
	return nil
}
