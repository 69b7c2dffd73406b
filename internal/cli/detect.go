package cli

import (
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"weir/plugins/process/anomaly"
)

// detectCommand is `weir detect`: it evaluates the anomaly detectors on series with labelled anomalies.
func detectCommand() *cli.Command {
	return &cli.Command{
		Name:  "detect",
		Usage: "Try the anomaly detectors on labelled series: what they find, miss and call wrongly",
		Description: `
The folder holds CSV files (timestamp,value) and the labels: a JSON object that
gives for each file the spans in which it was off, as the Numenta Anomaly
Benchmark has them. The result is a table in Markdown.

  weir detect --series DIR
  weir detect --series DIR --rules configs/anomaly.yaml --window 24h`[1:],
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "series", Required: true, Usage: "the `DIR` of the series"},
			&cli.StringFlag{Name: "labels", Value: "anomaly_windows.json", Usage: "the `FILE` of the labels, in that folder"},
			&cli.StringFlag{Name: "rules", Usage: "try each rule of this `FILE` alone; without it, each detector with its " +
				"defaults"},
			&cli.DurationFlag{Name: "window", Value: time.Hour, Usage: "what zscore compares with"},
		},
		Action: detect,
	}
}

func detect(c *cli.Context) error {
	window := c.Duration("window")
	if window < 12*time.Second {
		return usagef("reading --window: %s is less than 12s", window)
	}
	series, err := anomaly.ReadLabelled(os.DirFS(c.String("series")), c.String("labels"))
	if err != nil {
		return err
	}
	trials, err := anomaly.Trials(window)
	if file := c.String("rules"); err == nil && file != "" {
		var raw []byte
		if raw, err = os.ReadFile(file); err == nil {
			var rules []*anomaly.Rule
			rules, err = anomaly.ParseRules(raw)
			trials = anomaly.TrialsOf(rules, window)
		}
	}
	if err != nil {
		return err
	}
	return anomaly.WriteTrials(c.App.Writer, trials, series)
}
