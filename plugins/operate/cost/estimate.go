package cost

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

const (
	monthHours = 730
	monthDays  = monthHours / 24.0
	gb         = 1e9
	nodeCores  = 2   // of a node that runs weir
	nodeFill   = 0.6 // of its cores that a peak may use
	leastNodes = 3   // one per zone

	// unitConnections is the number of open connections per unit of a load balancer, which also
	// includes a gigabyte an hour. Devices keep their connections open.
	unitConnections = 3000
)

// Item is how much of one component a load needs in a month, and its price.
type Item struct {
	Component string   `json:"component"`
	Quantity  float64  `json:"quantity"`
	Unit      string   `json:"unit"`
	Formula   string   `json:"formula"`
	PriceKey  string   `json:"price_of"`
	Price     *float64 `json:"price"`       // per unit; nil: not priced
	Monthly   *float64 `json:"usd_monthly"` // nil: not priced
}

// Estimate is what a load costs in a month.
type Estimate struct {
	Load      Load     `json:"load"`
	Units     Units    `json:"units"`
	Items     []Item   `json:"items"`       // the most expensive first; those that are not priced last
	Total     *float64 `json:"usd_monthly"` // of the priced items; nil: there are none
	NotPriced []string `json:"not_priced"`  // components that are not in the total
}

// Of estimates the cost of a load, for the given units and prices.
func Of(l Load, u Units, prices Prices) Estimate {
	e := Estimate{Load: l, Units: u, NotPriced: []string{}}
	add := func(component, key string, quantity float64, formula string, args ...any) {
		i := Item{Component: component, Quantity: quantity, Unit: units()[key], Formula: fmt.Sprintf(formula, args...),
			PriceKey: key}
		if strings.HasPrefix(i.Unit, "1000") {
			i.Quantity /= 1000
		}
		if p := prices.Lines[key].Amount; p != nil {
			monthly := i.Quantity * *p
			i.Price, i.Monthly = p, &monthly
			e.Total = plus(e.Total, monthly)
		} else {
			e.NotPriced = append(e.NotPriced, component)
		}
		e.Items = append(e.Items, i)
	}
	e.nodes(add)
	e.network(add)
	e.stores(add)
	slices.SortStableFunc(e.Items, func(a, b Item) int { return cmp.Compare(b.usd(), a.usd()) })
	return e
}

func plus(sum *float64, more float64) *float64 {
	if sum != nil {
		more += *sum
	}
	return &more
}

type adder func(component, key string, quantity float64, formula string, args ...any)

func (i Item) usd() float64 {
	if i.Monthly == nil {
		return -1
	}
	return *i.Monthly
}

func (e Estimate) nodes(add adder) {
	l := e.Load
	peak := l.peak()
	cores := peak * e.Units.CPU.Value / 1e6
	weir := 1.0
	if !l.SQLite {
		weir = max(leastNodes, math.Ceil(cores/(nodeCores*nodeFill)))
	}
	add("weir", "weir_node", weir*monthHours, "%g nodes x %d h; %.0f events/s at the peak x %.0f us = %.2f cores of %g",
		weir, monthHours, peak, e.Units.CPU.Value, cores, weir*nodeCores)
	if l.SQLite {
		return
	}
	add("Kafka", "kafka_node", l.Replicas*monthHours, "%g nodes x %d h", l.Replicas, monthHours)
	add("PostgreSQL", "postgres_node", (1+l.Standbys)*monthHours, "%g nodes x %d h", 1+l.Standbys, monthHours)
	add("Redis", "redis_node", 2*monthHours, "2 nodes x %d h; ids of an hour: %.1f GB", monthHours,
		l.PerSecond()*3600*claimBytes/gb)
	add("load balancer", "load_balancer", monthHours, "1 x %d h", monthHours)
	perHour := l.perDay() / 24 * l.EventBytes / gb
	add("load balancer's units", "load_balancer_unit", max(float64(l.Devices)/unitConnections, perHour)*monthHours,
		"the more of %d devices / %d connections and %.1f GB/h, x %d h", int(l.Devices), unitConnections, perHour, monthHours)
}

func (e Estimate) network(add adder) {
	l := e.Load
	if l.SQLite {
		return
	}
	month := l.perDay() * monthDays * e.Units.Log.Value / gb
	reads := l.Groups * 2 / 3
	if l.RackAware {
		reads = 0
	}
	times := 2.0/3 + reads + (l.Replicas - 1)
	add("traffic between zones", "zone_traffic", month*times,
		"%.0f GB a month x (2/3 in + %.2f for %g groups + %g replicas)", month, reads, l.Groups, l.Replicas-1)
}

func (e Estimate) stores(add adder) {
	l, u := e.Load, e.Units
	copies, replicas, object := 1+l.Standbys, l.Replicas, "object"
	if l.SQLite {
		copies, replicas, object = 1, 1, "disk"
	}
	log := min(l.KeepLog.Hours()/24, l.kept(l.KeepLog))
	add("log", "disk", l.perDay()*log*u.Log.Value*replicas/gb, "%.0f events/day x %.3g days x %.0f B x %g replicas",
		l.perDay(), log, u.Log.Value, replicas)
	raw := l.kept(l.KeepRaw)
	add("raw events", object, l.perDay()*raw*u.Raw.Value/gb, "%.0f events/day x %.4g days x %.1f B", l.perDay(), raw,
		u.Raw.Value)
	if !l.SQLite {
		puts := leastNodes * monthHours * l.Hours / 24 * 3600 / l.RawPeriod.Seconds()
		add("writing raw events", "object_put", puts, "%d writers x an object each %s", leastNodes, l.RawPeriod)
	}
	dead := l.kept(l.KeepDead)
	add("dead letters", object, l.perDay()*l.DeadShare*dead*u.Dead.Value/gb, "%.0f/day x %.4g days x %.0f B",
		l.perDay()*l.DeadShare, dead, u.Dead.Value)
	hot, old := l.hot()
	add("minutes in SQL", "disk", l.windows(60)*hot*u.Minute.Value*copies/gb, "%.0f rows/day x %.4g days x %.0f B x %g",
		l.windows(60), hot, u.Minute.Value, copies)
	if l.HotMinutes > 0 {
		add("minutes in Parquet", object, l.windows(60)*old*u.Old.Value/gb, "%.0f windows/day x %.4g days x %.0f B",
			l.windows(60), old, u.Old.Value)
	}
	all := l.kept(l.KeepRollups)
	add("hours in SQL", "disk", l.windows(3600)*all*u.Hour.Value*copies/gb, "%.0f rows/day x %.4g days x %.0f B x %g",
		l.windows(3600), all, u.Hour.Value, copies)
	add("days in SQL", "disk", l.windows(86400)*all*u.Day.Value*copies/gb, "%.0f rows/day x %.4g days x %.0f B x %g",
		l.windows(86400), all, u.Day.Value, copies)
}
