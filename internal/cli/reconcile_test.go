package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// Scripts that call the proof by its old name go on, and are told the new one.
func TestReconcile_GoesByItsOldNameAndSaysSo(t *testing.T) {
	var out, errs bytes.Buffer
	app := &cli.App{Writer: &out, ErrWriter: &errs,
		Commands:       []*cli.Command{strict(formerly("audit", reconcileCommand()))},
		ExitErrHandler: func(*cli.Context, error) {}}
	err := app.Run([]string{"weir", "audit", "--data", t.TempDir()})
	if ExitCode(err) != exitUsage || strings.Count(errs.String(), "weir audit is called weir reconcile now") != 1 {
		t.Errorf("%v: %q", err, errs.String())
	}
	if !app.Commands[0].Hidden {
		t.Error("the old name is shown")
	}
}
