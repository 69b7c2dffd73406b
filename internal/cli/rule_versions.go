package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"weir/internal/control/auditlog"
	"weir/internal/platform/httpx"
	"weir/internal/platform/sqldb"
	"weir/plugins/process/rule"
)

// ruleVersionVerbs returns the subcommands of `weir rules` for versions.
func ruleVersionVerbs() []*cli.Command {
	flags := func(more ...cli.Flag) []cli.Flag {
		return append(append([]cli.Flag{dataFlag(), storeFlag()}, apiFlags("store")...), more...)
	}
	comment := &cli.StringFlag{Name: "comment", Usage: "`WHY`, for those who read it later"}
	return []*cli.Command{
		{
			Name: "put", Usage: "Keep a rule set as a version; it is not in force until it is activated", ArgsUsage: "FILE",
			Flags: flags(comment, &cli.BoolFlag{Name: "activate", Usage: "put it in force, too"}), Action: putRules,
		},
		{
			Name: "list", Usage: "List the versions of rules, which is in force, and what fleets and partitions have",
			Flags:  flags(&cli.BoolFlag{Name: "json", Usage: "print them as JSON"}),
			Action: withVersions(sqldb.OpenReading, listVersions),
		},
		{
			Name: "show", Usage: "Print the text of a version", ArgsUsage: "NUMBER", Flags: flags(),
			Action: withVersions(sqldb.OpenReading, func(ctx context.Context, c *cli.Context, v versioner) error {
				number, err := versionArgument(c)
				if err != nil {
					return err
				}
				found, err := v.get(ctx, number)
				if err == nil {
					_, err = fmt.Fprint(c.App.Writer, found.Text)
				}
				return err
			}),
		},
		{
			Name:      "activate",
			Usage:     "Put a version in force, from the next batch of each partition on; 0 is the file of the stream",
			ArgsUsage: "NUMBER",
			Flags: flags(&cli.StringFlag{Name: "fleets", Usage: "only for these `FLEETS`, names or patterns separated by " +
				"commas, as in plant-1,test-*; all others go on with what is in force"}),
			Action: withVersions(sqldb.Open, func(ctx context.Context, c *cli.Context, v versioner) error {
				number, err := versionArgument(c)
				if err != nil {
					return err
				}
				var fleets []string // nil: all
				if c.IsSet("fleets") {
					fleets = strings.Split(c.String("fleets"), ",")
				}
				return printActivation(c, func() (rule.Activation, error) {
					a, err := v.activate(ctx, number, fleets)
					if errors.Is(err, rule.ErrFleets) {
						err = usagef("--fleets: %w; leave it out to activate the version for all", err)
					}
					return a, err
				})
			}),
		},
		{
			Name: "rollback", Usage: "Put in force what was before; again, go back one more", Flags: flags(),
			Action: withVersions(sqldb.Open, func(ctx context.Context, c *cli.Context, v versioner) error {
				return printActivation(c, func() (rule.Activation, error) { return v.rollback(ctx) })
			}),
		},
	}
}

// versionsOf is the list of versions with what is in force and what runs.
type versionsOf struct {
	Active     rule.Activation `json:"active"`
	Versions   []rule.Version  `json:"versions"`
	Partitions []rule.Since    `json:"partitions"`
	Fleets     []rule.Group    `json:"fleets"`
}

// versioner accesses versions of rules in a store or over the API.
type versioner interface {
	put(ctx context.Context, text, comment string) (rule.Version, error)
	get(ctx context.Context, number int64) (rule.Version, error)
	activate(ctx context.Context, number int64, fleets []string) (rule.Activation, error)
	rollback(ctx context.Context) (rule.Activation, error)
	all(ctx context.Context) (versionsOf, error)
}

func withVersions(open func(context.Context, string) (*sqldb.DB, error), do func(context.Context, *cli.Context,
	versioner) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		if c.String("api") != "" {
			api, leave, err := adminAPI(c, "rules")
			if err != nil {
				return err
			}
			defer leave()
			return do(c.Context, c, remoteVersions{api})
		}
		db, err := openControl(c, open)
		if err != nil {
			return err
		}
		defer func() { _ = db.Close() }() // every change is committed
		versions, err := rule.OpenVersions(c.Context, db)
		if err != nil {
			return err
		}
		err = do(c.Context, c, localVersions{versions, db})
		if wrong := (*rule.ProblemsError)(nil); errors.As(err, &wrong) {
			return findingError{err} // about the stream's topics; the text itself was checked before
		}
		return err
	}
}

func versionArgument(c *cli.Context) (int64, error) {
	number, err := strconv.ParseInt(arguments(c)[0], 10, 64)
	if err != nil || number < 0 {
		return 0, usagef("%q is no number of a version: 'weir rules list' lists them", arguments(c)[0])
	}
	return number, nil
}

func putRules(c *cli.Context) error {
	file := arguments(c)[0]
	if _, err := readRules(file); err != nil { // reports errors with their line
		return err
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return usagef("reading the rules: %w", err)
	}
	return withVersions(sqldb.Open, func(ctx context.Context, c *cli.Context, v versioner) error {
		kept, err := v.put(ctx, string(raw), c.String("comment"))
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(c.App.Writer, "version %d: %s\n", kept.Number, kept.Version); err != nil ||
			!c.Bool("activate") {
			return err
		}
		return printActivation(c, func() (rule.Activation, error) { return v.activate(ctx, kept.Number, nil) })
	})(c)
}

func printActivation(c *cli.Context, do func() (rule.Activation, error)) error {
	a, err := do()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.App.Writer, inForce(a))
	return err
}

// inForce describes an activation.
func inForce(a rule.Activation) string {
	text := "in force: the file of the rules stream"
	if a.Number > 0 {
		text = fmt.Sprintf("in force: version %d, %s, since %s by %s", a.Number, a.Version, a.At.Format(time.RFC3339), a.By)
	}
	if a.Canary > 0 {
		text += fmt.Sprintf("\nfor %s alone: version %d, %s, since %s by %s", strings.Join(a.Fleets, ", "), a.Canary,
			a.CanaryVersion, a.At.Format(time.RFC3339), a.By)
	}
	return text
}

func listVersions(ctx context.Context, c *cli.Context, v versioner) error {
	all, err := v.all(ctx)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, all)
	}
	w := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s\n\nNUMBER\tVERSION\tRULES\tPUT\tBY\tCOMMENT\n", inForce(all.Active))
	for _, r := range all.Versions {
		fmt.Fprintf(w, "%d\t%s\t%d\t%s\t%s\t%s\n", r.Number, r.Version, len(r.Rules), r.CreatedAt.Format(time.RFC3339),
			r.CreatedBy, r.Comment)
	}
	if len(all.Partitions) == 0 {
		return w.Flush()
	}
	fmt.Fprint(w, "\nFLEETS\tTO HAVE\tHAVE\tPARTITIONS BEHIND\n")
	for _, g := range all.Fleets {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\n", fleetsOf(g), wanted(g), runningOf(g), g.Behind)
	}
	fmt.Fprint(w, "\nPARTITION\tVERSION\tFROM OFFSET\n")
	for _, p := range all.Partitions {
		version := p.Version
		if p.Canary != "" {
			version += fmt.Sprintf(", of %s %s", strings.Join(p.Fleets, ","), p.Canary)
		}
		fmt.Fprintf(w, "%s/%d\t%s\t%d\n", p.Topic, p.Partition, version, p.Offset)
	}
	return w.Flush()
}

func fleetsOf(g rule.Group) string {
	if len(g.Fleets) == 0 {
		return "all others"
	}
	return strings.Join(g.Fleets, ",")
}

// wanted describes the version that a group of fleets should have.
func wanted(g rule.Group) string {
	if g.Number == 0 {
		return "the file"
	}
	return fmt.Sprintf("%d: %s", g.Number, g.Version)
}

// runningOf describes the versions that they have.
func runningOf(g rule.Group) string {
	texts := make([]string, len(g.Running))
	for i, r := range g.Running {
		texts[i] = fmt.Sprintf("%s on %d", r.Version, r.Partitions)
	}
	return strings.Join(texts, ", ")
}

// localVersions works on a store and records changes in its audit log.
type localVersions struct {
	kept *rule.Versions
	db   *sqldb.DB
}

func (l localVersions) who() string {
	return auditlog.Local("", nil, nil).User + " at the command line"
}

func (l localVersions) put(ctx context.Context, text, comment string) (rule.Version, error) {
	v, err := l.kept.Put(ctx, text, l.who(), comment)
	return v, recorded(ctx, l.db, "rules put", map[string]any{"number": v.Number, "version": v.Version,
		"comment": auditlog.Text(comment)}, err)
}

func (l localVersions) get(ctx context.Context, number int64) (rule.Version, error) {
	return l.kept.Get(ctx, number)
}

func (l localVersions) activate(ctx context.Context, number int64, fleets []string) (a rule.Activation, err error) {
	detail := map[string]any{"number": number}
	if fleets != nil {
		a, err = l.kept.ActivateFor(ctx, number, fleets, l.who())
		detail["version"], detail["fleets"] = a.CanaryVersion, fleets
	} else {
		a, err = l.kept.Activate(ctx, number, l.who())
		detail["version"] = a.Version
	}
	return a, recorded(ctx, l.db, "rules activate", detail, err)
}

func (l localVersions) rollback(ctx context.Context) (rule.Activation, error) {
	a, err := l.kept.Rollback(ctx, l.who())
	return a, recorded(ctx, l.db, "rules rollback", map[string]any{"number": a.Number, "version": a.Version}, err)
}

func (l localVersions) all(ctx context.Context) (v versionsOf, err error) {
	list, err := l.kept.List(ctx)
	active, err2 := l.kept.Active(ctx)
	partitions, err3 := l.kept.Partitions(ctx)
	return versionsOf{active, list, partitions, rule.Groups(active, partitions)}, errors.Join(err, err2, err3)
}

// remoteVersions works over the API, which writes the audit log itself.
type remoteVersions struct{ httpx.API }

const ruleVersionsPath = "/v1/rule-versions"

func (r remoteVersions) put(ctx context.Context, text, comment string) (v rule.Version, err error) {
	return v, r.Call(ctx, http.MethodPost, ruleVersionsPath, map[string]string{"text": text, "comment": comment}, &v)
}

func (r remoteVersions) get(ctx context.Context, number int64) (v rule.Version, err error) {
	return v, r.Call(ctx, http.MethodGet, fmt.Sprintf("%s/%d", ruleVersionsPath, number), nil, &v)
}

func (r remoteVersions) activate(ctx context.Context, number int64, fleets []string) (a rule.Activation, err error) {
	var body any
	if fleets != nil {
		body = map[string]any{"fleets": fleets}
	}
	return a, r.Call(ctx, http.MethodPost, fmt.Sprintf("%s/%d/activate", ruleVersionsPath, number), body, &a)
}

func (r remoteVersions) rollback(ctx context.Context) (a rule.Activation, err error) {
	return a, r.Call(ctx, http.MethodPost, ruleVersionsPath+"/rollback", nil, &a)
}

func (r remoteVersions) all(ctx context.Context) (v versionsOf, err error) {
	return v, r.Call(ctx, http.MethodGet, ruleVersionsPath, nil, &v)
}
