package cost

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"weir/internal/platform/conf"
)

// stale is the age of a price from which on users are warned.
const stale = 180 * day

// Price is one line of a price list: what somebody asked for something, where
// that was read, and as of when. Without an amount it is not priced.
type Price struct {
	Amount *float64 `yaml:"price" json:"price"` // US dollars
	Per    string   `yaml:"per" json:"per"`
	What   string   `yaml:"what" json:"what"`
	Source string   `yaml:"source" json:"source"`
	Date   string   `yaml:"date" json:"date"` // of the source: 2026, 2026-07 or 2026-07-20
}

// Prices is the price list of one provider, by component.
type Prices struct {
	Name  string           `yaml:"name" json:"name"`
	Lines map[string]Price `yaml:"prices" json:"prices"`
}

// units returns the possible components of a price list, and the unit of each.
func units() map[string]string {
	return map[string]string{
		"weir_node": "hour", "kafka_node": "hour", "postgres_node": "hour", "redis_node": "hour",
		"disk": "GB-month", "object": "GB-month", "object_put": "1000 requests", "zone_traffic": "GB",
		"load_balancer": "hour", "load_balancer_unit": "hour",
	}
}

// ParsePrices reads a price list. Its error lists everything that is wrong.
func ParsePrices(raw []byte) (Prices, error) {
	var p Prices
	if err := conf.YAML(raw, &p); err != nil {
		return p, fmt.Errorf("reading prices: %w", err)
	}
	var errs []error
	if p.Name == "" {
		errs = append(errs, errors.New("name: expected the name of the list"))
	}
	known := units()
	for _, key := range sorted(p.Lines) {
		line := p.Lines[key]
		if per, ok := known[key]; !ok {
			errs = append(errs, fmt.Errorf("prices.%s: expected one of %s", key, strings.Join(sorted(known), ", ")))
		} else if line.Per != per {
			errs = append(errs, fmt.Errorf("prices.%s.per: expected %q", key, per))
		}
		errs = append(errs, line.check("prices."+key))
	}
	return p, errors.Join(errs...)
}

func (p Price) check(at string) error {
	var errs []error
	if p.Amount != nil && !(*p.Amount >= 0 && *p.Amount <= math.MaxInt32) { // NaN is neither
		errs = append(errs, fmt.Errorf("%s.price: expected 0 or more; leave it out where it is not known", at))
	}
	if p.Amount != nil && p.Source == "" {
		errs = append(errs, fmt.Errorf("%s.source: expected where the price was read", at))
	}
	if _, err := p.when(); p.Amount != nil && err != nil {
		errs = append(errs, fmt.Errorf("%s.date: expected the day, month or year of the source, as 2026-07-20", at))
	}
	return errors.Join(errs...)
}

// when returns the earliest time that the date may mean, so that the age is never too small.
func (p Price) when() (at time.Time, err error) {
	for _, layout := range []string{time.DateOnly, "2006-01", "2006"} {
		if at, err = time.Parse(layout, p.Date); err == nil {
			return at, nil
		}
	}
	return at, err
}

// Old returns the prices that are older than stale, with their dates.
func (p Prices) Old(now time.Time) (old []string) {
	for _, key := range sorted(p.Lines) {
		if line := p.Lines[key]; line.old(now) {
			old = append(old, fmt.Sprintf("%s (%s, %s)", key, line.Date, line.Source))
		}
	}
	return old
}

func (p Price) old(now time.Time) bool {
	at, err := p.when()
	return p.Amount != nil && err == nil && now.Sub(at) > stale
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
