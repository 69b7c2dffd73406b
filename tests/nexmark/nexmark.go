// Package nexmark generates the events of Nexmark, a benchmark that models an auction house, as events of weir. The
// distributions follow its public description: of 50 events, one is a person, three are auctions and 46 are bids;
// most bids are by few bidders on few auctions; prices are log-uniform. The same seed generates the same events.
package nexmark

import (
	"embed"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"time"
)

// By selects the device id of an event, and so its partition in the log. Everything that a query counts together must
// be in one partition.
type By string

// The possible partitionings.
const (
	ByBidder  By = "bidder"
	ByAuction By = "auction"
	ByHouse   By = "house" // everything in one partition
)

// Query is a Nexmark query as a rule set.
type Query struct {
	Name string
	By   By
}

// Queries returns the queries that weir's rules can express.
func Queries() []Query { return []Query{{"q12", ByBidder}, {"q15", ByHouse}, {"q17", ByAuction}} }

//go:embed q12.yaml q15.yaml q17.yaml
var rules embed.FS

// Rules returns the text of the query's rule set.
func (q Query) Rules() (string, error) {
	raw, err := rules.ReadFile(q.Name + ".yaml")
	return string(raw), err
}

const (
	cycle     = 50 // events in a cycle
	people    = 1
	auctions  = 3
	firstID   = 1000
	active    = 1000 // persons that may bid or sell
	inFlight  = 100  // auctions open for bids
	hotEvery  = 100  // one id in so many is hot
	hotBidder = 4    // one person in so many is chosen among all active, the others are hot
	hotItem   = 2    // the same for auctions
)

// Generator generates events. It is not safe for concurrent use.
type Generator struct {
	r     *rand.Rand
	by    By
	at    time.Time
	every time.Duration
	n     int64
}

// New returns a Generator whose events start at a time, spaced by every.
func New(seed uint64, by By, start time.Time, every time.Duration) *Generator {
	return &Generator{r: rand.New(rand.NewPCG(seed, 0x4e58)), by: by, at: start.UTC(), every: every}
}

// Lines returns the next n events as JSON.
func (g *Generator) Lines(n int) []string {
	lines := make([]string, n)
	for i := range lines {
		lines[i] = string(g.Append(nil))
	}
	return lines
}

// Append appends the next event as JSON.
func (g *Generator) Append(b []byte) []byte {
	turn, round := g.n%cycle, g.n/cycle
	lastPerson := round*people + min(turn, people-1)
	lastAuction := round*auctions + min(max(turn-people, 0), auctions-1)
	switch {
	case turn < people:
		id := firstID + lastPerson
		b = g.head(b, g.device(id, 0), "person", 0)
		b = fmt.Appendf(b, `"person":%d,"name":"person %d","city":%q}`, id, id, pick(g.r, "Oslo", "Lima", "Kyoto", "Dakar"))
	case turn < people+auctions:
		id, seller := firstID+lastAuction, g.person(lastPerson)
		b = g.head(b, g.device(seller, id), "auction", g.price())
		b = fmt.Appendf(b, `"auction":%d,"seller":%d,"category":%d}`, id, seller, 10+g.r.IntN(5))
	default:
		bidder, auction := g.person(lastPerson), g.auction(lastAuction)
		b = g.head(b, g.device(bidder, auction), "bid", g.price())
		b = fmt.Appendf(b, `"auction":%d,"bidder":%d,"channel":%q}`, auction, bidder,
			pick(g.r, "Apple", "Baidu", "Facebook", "Google"))
	}
	g.n++
	g.at = g.at.Add(g.every)
	return b
}

// head appends the fields that all events have; a price of 0 is omitted.
func (g *Generator) head(b []byte, device, kind string, price int64) []byte {
	b = fmt.Appendf(b, `{"event_id":"%08x-0000-4000-8000-%012x","device_id":%q,"device_firmware_version":"1.0.0","timestamp":%q,`,
		g.r.Uint32(), g.n, device, g.at.Format("2006-01-02T15:04:05.000000Z07:00"))
	b = append(b, `"metrics":{`...)
	if price > 0 {
		b = strconv.AppendInt(append(b, `"price":`...), price, 10)
	}
	return fmt.Appendf(b, `},"kind":%q,`, kind)
}

func (g *Generator) device(person, auction int64) string {
	switch {
	case g.by == ByBidder:
		return fmt.Sprintf("bidder-%d", person)
	case g.by == ByAuction && auction > 0:
		return fmt.Sprintf("auction-%d", auction)
	}
	return "house"
}

// person returns the id of a seller or bidder: in three of four cases the newest hot one.
func (g *Generator) person(last int64) int64 {
	if g.r.IntN(hotBidder) > 0 {
		return firstID + last/hotEvery*hotEvery
	}
	return firstID + last - g.r.Int64N(min(last+1, active))
}

// auction returns the id of an auction to bid on: in one of two cases the newest hot one.
func (g *Generator) auction(last int64) int64 {
	if g.r.IntN(hotItem) > 0 {
		return firstID + last/hotEvery*hotEvery
	}
	return firstID + last - g.r.Int64N(min(last+1, inFlight))
}

// price returns a price in cents, from 1 to 1,000,000 in whole units, log-uniform.
func (g *Generator) price() int64 { return int64(math.Round(math.Pow(10, g.r.Float64()*6) * 100)) }

func pick(r *rand.Rand, of ...string) string { return of[r.IntN(len(of))] }
