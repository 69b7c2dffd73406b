package rule

// limits bound what a rule keeps. When they change, the rule goes on: what it has stays, and nothing is added beyond
// them.
type limits struct {
	keys    int64 // of a fleet, open in a partition; 0: as many as the stream allows
	waiting int   // events of a key that wait for their time, or for partners
	ways    int   // partial matches of a key
}

type limitsText struct {
	Keys    *int64 `yaml:"keys_per_fleet"`
	Waiting *int64 `yaml:"waiting_per_key"`
	Ways    *int64 `yaml:"ways_per_key"`
}

// limited reads the limits of a rule. They can only be lower than the defaults; that of keys has maxKeys instead.
func (c *checker) limited(r *Rule, text *limitsText) {
	r.limits = limits{waiting: maxEarly, ways: maxThreads}
	if r.join != nil {
		r.limits.waiting = maxJoined
	}
	if text == nil {
		return
	}
	read := func(field string, said *int64, is bool, most int64) int64 {
		switch {
		case said == nil:
			return most
		case !is:
			c.at("limits."+field, "does not apply to this kind of rule: take it out")
		case *said < 1 || *said > most:
			c.at("limits."+field, "%d is not allowed: write a number from 1 to %d", *said, most)
		}
		return *said
	}
	if text.Keys != nil {
		r.limits.keys = read("keys_per_fleet", text.Keys, true, maxKeys)
	}
	r.limits.waiting = int(read("waiting_per_key", text.Waiting, r.join != nil || r.pattern != nil && !r.pattern.arrival,
		int64(r.limits.waiting)))
	r.limits.ways = int(read("ways_per_key", text.Ways, r.pattern != nil, maxThreads))
}

// maxKeys bounds the limit of keys, so that a digit too many is noticed.
const maxKeys = 100_000_000

// keysOf returns how many keys a fleet may have open in a rule: the lower of the rule's and the stream's limit. 0 is
// any number.
func (p *partition) keysOf(as *form) int64 {
	if own := as.limits.keys; own > 0 && (p.perFleet == 0 || own < p.perFleet) {
		return own
	}
	return p.perFleet
}
