package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"weir/plugins/operate/cost"
)

// drivers is how many components are repeated below the table as the main cost drivers.
const drivers = 3

func (r costReport) print(c *cli.Context) error {
	if c.Bool("json") {
		return printJSON(c.App.Writer, r)
	}
	w := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	l := r.Load
	_, _ = fmt.Fprintf(w, "%.0f devices, an event each %s: %s events/s, %s hours a day, %s metrics, %.0f bytes\n\n",
		l.Devices, l.Interval, plain(l.PerSecond()), plain(l.Hours), plain(l.Metrics), l.EventBytes)
	_, _ = fmt.Fprintln(w, "UNIT\tTAKES\tKNOWN BY")
	for _, u := range r.Units.List() {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", u.Of, plain(u.Value), u.From)
	}
	_, _ = fmt.Fprintf(w, "\nCOMPONENT\tUSD A MONTH\tQUANTITY\tPRICE OF ONE\tFORMULA\n")
	printItems(w, r.Items)
	printTotal(w, r.Total, r.NotPriced)
	if r.Total != nil {
		names := make([]string, 0, drivers)
		for _, i := range r.Items[:drivers] {
			if i.Monthly != nil && *r.Total > 0 {
				names = append(names, fmt.Sprintf("%s %.0f %%", i.Component, *i.Monthly / *r.Total * 100))
			}
		}
		_, _ = fmt.Fprintf(w, "\nFirst drivers: %s\n", strings.Join(names, ", "))
	}
	if len(r.Levers) > 0 {
		_, _ = fmt.Fprintf(w, "\nLEVER, EACH ALONE\tSAVES USD A MONTH\tHOW\n")
		for _, l := range r.Levers {
			_, _ = fmt.Fprintf(w, "%s\t%.2f\t%s\n", l.Change, l.Saves, l.How)
		}
	}
	for _, b := range r.Hosted {
		_, _ = fmt.Fprintf(w, "\n%s\tUSD A MONTH\tQUANTITY\tPRICE OF ONE\tFORMULA\n", strings.ToUpper(b.Service))
		printItems(w, b.Items)
		printTotal(w, b.Total, b.NotPriced)
	}
	_, _ = fmt.Fprintf(w, "\nPrices: %s\n", r.Prices.Name)
	if err := w.Flush(); err != nil {
		return err
	}
	for _, warning := range r.Warnings {
		if _, err := fmt.Fprintf(c.App.ErrWriter, "warning: %s\n", warning); err != nil {
			return err
		}
	}
	return nil
}

func printItems(w io.Writer, items []cost.Item) {
	for _, i := range items {
		usd, price := "not priced", "not priced"
		if i.Monthly != nil {
			usd, price = fmt.Sprintf("%.2f", *i.Monthly), "$"+plain(*i.Price)
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s %s\t%s\t%s\n", i.Component, usd, plain(i.Quantity), i.Unit, price, i.Formula)
	}
}

func printTotal(w io.Writer, total *float64, without []string) {
	left, usd := "", "not priced"
	if total != nil {
		usd = fmt.Sprintf("%.2f", *total)
	}
	if len(without) > 0 {
		left = "without what is not priced: " + strings.Join(without, ", ")
	}
	_, _ = fmt.Fprintf(w, "total\t%s\t%s\n", usd, left)
}

// plain formats a number with a sensible number of digits.
func plain(f float64) string {
	switch {
	case f >= 100:
		return strconv.FormatFloat(f, 'f', 0, 64)
	case f >= 1:
		return strings.TrimSuffix(strings.TrimRight(strconv.FormatFloat(f, 'f', 2, 64), "0"), ".")
	}
	return strconv.FormatFloat(f, 'g', 3, 64)
}
