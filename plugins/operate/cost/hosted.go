package cost

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"weir/internal/platform/conf"
)

// Hosted is a list of hosted services, to compare their prices for the same load.
type Hosted struct {
	Services []Service `yaml:"services" json:"services"`
}

// Service is a hosted service.
type Service struct {
	Name  string       `yaml:"name" json:"name"`
	Lines []HostedLine `yaml:"lines" json:"lines"`
}

// HostedLine is one line of a service's bill.
type HostedLine struct {
	Price `yaml:",inline"`
	// Of is what is billed: events (millions), sent (GB of JSON), kept (GB, of
	// Bytes an event for Days), connections (millions of device-minutes), series.
	Of    string  `yaml:"of" json:"of"`
	Bytes float64 `yaml:"bytes" json:"bytes,omitempty"`
	Days  float64 `yaml:"days" json:"days,omitempty"`
}

func hostedUnits() map[string]string {
	return map[string]string{"events": "million", "sent": "GB", "kept": "GB-month", "connections": "million",
		"series": "series-month"}
}

// ParseHosted reads a list of hosted services. Its error lists everything that is wrong.
func ParseHosted(raw []byte) (Hosted, error) {
	var h Hosted
	if err := conf.YAML(raw, &h); err != nil {
		return h, fmt.Errorf("reading hosted services: %w", err)
	}
	var errs []error
	known := hostedUnits()
	for i, s := range h.Services {
		if s.Name == "" || len(s.Lines) == 0 {
			errs = append(errs, fmt.Errorf("services.%d: expected a name and lines", i))
		}
		for n, line := range s.Lines {
			at := fmt.Sprintf("services.%d.lines.%d", i, n)
			if per, ok := known[line.Of]; !ok {
				errs = append(errs, fmt.Errorf("%s.of: expected one of %s", at, strings.Join(sorted(known), ", ")))
			} else if line.Per != per {
				errs = append(errs, fmt.Errorf("%s.per: expected %q", at, per))
			}
			if line.Of == "kept" && (line.Bytes <= 0 || line.Days <= 0) {
				errs = append(errs, fmt.Errorf("%s: of what is kept, expected bytes and days", at))
			}
			errs = append(errs, line.check(at))
		}
	}
	return h, errors.Join(errs...)
}

// Old returns the prices that are older than stale.
func (h Hosted) Old(now time.Time) (old []string) {
	for _, s := range h.Services {
		for _, line := range s.Lines {
			if what := fmt.Sprintf("%s: %s (%s, %s)", s.Name, line.What, line.Date, line.Source); line.old(now) &&
				!slices.Contains(old, what) {
				old = append(old, what)
			}
		}
	}
	return old
}

// Bill is what a service would charge for a load in a month.
type Bill struct {
	Service   string   `json:"service"`
	Items     []Item   `json:"items"`
	Total     *float64 `json:"usd_monthly"` // of the priced items; nil: there are none
	NotPriced []string `json:"not_priced"`
}

// Bills returns the bill of each service for a load.
func (h Hosted) Bills(l Load) (bills []Bill) {
	for _, s := range h.Services {
		b := Bill{Service: s.Name, NotPriced: []string{}}
		for _, line := range s.Lines {
			i := Item{Component: line.What, Unit: line.Per, PriceKey: line.Of, Price: line.Amount}
			i.Quantity, i.Formula = line.quantity(l)
			if line.Amount != nil {
				monthly := i.Quantity * *line.Amount
				i.Monthly = &monthly
				b.Total = plus(b.Total, monthly)
			} else {
				b.NotPriced = append(b.NotPriced, line.What)
			}
			b.Items = append(b.Items, i)
		}
		bills = append(bills, b)
	}
	return bills
}

func (h HostedLine) quantity(l Load) (float64, string) {
	events := l.perDay() * monthDays
	switch h.Of {
	case "events":
		return events / 1e6, fmt.Sprintf("%.0f events a month", events)
	case "sent":
		return events * l.EventBytes / gb, fmt.Sprintf("%.0f events a month x %.0f B", events, l.EventBytes)
	case "kept":
		return l.perDay() * h.Days * h.Bytes / gb,
			fmt.Sprintf("%.0f events/day x %g days x %g B", l.perDay(), h.Days, h.Bytes)
	case "connections":
		minutes := l.Devices * monthHours * 60 * l.Hours / 24
		return minutes / 1e6, fmt.Sprintf("%.0f devices x %.0f minutes", l.Devices, minutes/l.Devices)
	}
	return l.Devices * l.Metrics, fmt.Sprintf("%.0f devices x %g metrics", l.Devices, l.Metrics)
}
