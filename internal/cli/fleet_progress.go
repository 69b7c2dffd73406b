package cli

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"weir/internal/simulate"
)

// showProgress shows a progress bar on a terminal, and elsewhere prints a line every ten seconds.
func showProgress(to *os.File) func(simulate.Progress) {
	if !term.IsTerminal(int(to.Fd())) {
		return logProgress(to)
	}
	var bar *progressbar.ProgressBar
	return func(p simulate.Progress) {
		if bar == nil {
			planned := p.Planned
			if planned == 0 {
				planned = -1 // a spinner
			}
			bar = progressbar.NewOptions64(planned, progressbar.OptionSetWriter(to), progressbar.OptionShowCount(),
				progressbar.OptionShowIts(), progressbar.OptionSetItsString("events"), progressbar.OptionClearOnFinish(),
				progressbar.OptionFullWidth(), progressbar.OptionThrottle(100*time.Millisecond))
		}
		bar.Describe(fmt.Sprintf("accepted %d · rejected %d · failed %d · retried %d", p.Accepted, p.Rejected, p.Failed,
			p.Retried))
		_ = bar.Set64(p.Sent) // ignore a terminal that went away
		if p.Done {
			_ = bar.Finish()
		}
	}
}

func logProgress(to io.Writer) func(simulate.Progress) {
	next := 10 * time.Second
	return func(p simulate.Progress) {
		if p.Elapsed < next {
			return
		}
		next += 10 * time.Second
		fmt.Fprintf(to, "%3.0f s: sent %d, accepted %d, rejected %d, failed %d, retried %d\n",
			p.Elapsed.Seconds(), p.Sent, p.Accepted, p.Rejected, p.Failed, p.Retried)
	}
}
