package dedupe

const (
	// recentMost is how many claims are remembered with the heap's usual budget: three
	// seconds of 80,000 a second.
	recentMost = 1 << 18
	// recentTimes is how many times as many are with a larger budget.
	recentTimes = 16
	// recentWays is how many of them have the same place: two lines of a cache.
	recentWays = 4
	// recentText is the memory of what one of them says; one that says more than usual
	// costs others theirs.
	recentText = 64
)

// recent remembers the newest claims. Every group asks for the same events
// within a moment of each other, and the first to ask made the claims: the
// others need no look into the store. A group that is further behind than what is
// remembered searches the store for each event, and falls behind more: so
// there is more of it where GOMEMLIMIT gives a process the memory. A claim does not
// change until it expires, so what is remembered is what the store holds. It has
// 24 MiB, or that many times as much as the budget is larger, and no pointers that
// collecting garbage would have to follow.
type recent struct {
	slots [][recentWays]remembered
	text  []byte // keys and coordinates, around and around
	next  uint64 // where in it the next claim goes, of all that was ever written
}

type remembered struct {
	hash uint64
	at   int64  // Unix milliseconds
	text uint64 // where its key begins; its coordinates follow
	key  uint16 // their lengths
	mine uint16
}

// newRecent remembers so many claims, a power of two.
func newRecent(most int) recent {
	return recent{slots: make([][recentWays]remembered, most/recentWays), text: make([]byte, most*recentText)}
}

func (r *recent) place(hash uint64) *[recentWays]remembered {
	return &r.slots[hash&uint64(len(r.slots)-1)]
}

// add remembers a claim in place of the oldest there.
func (r *recent) add(hash uint64, at int64, c *claim) {
	n := len(c.key) + len(c.mine)
	if n > 1<<15 { // no fleet and no topic have such names
		return
	}
	room := uint64(len(r.text))
	start := r.next % room
	if start+uint64(n) > room { // what is remembered lies in one piece
		r.next += room - start
		start = 0
	}
	copy(r.text[start:], c.key)
	copy(r.text[start+uint64(len(c.key)):], c.mine)
	place := r.place(hash)
	copy(place[1:], place[:])
	place[0] = remembered{hash, at, r.next, uint16(len(c.key)), uint16(len(c.mine))}
	r.next += uint64(n)
}

// find returns the coordinates that hold the key, if it is remembered as claimed
// after the given time. That it is not says nothing. They are good until the
// next add.
func (r *recent) find(hash uint64, key []byte, after int64) []byte {
	for i := range r.place(hash) {
		s := &r.place(hash)[i]
		if s.hash != hash {
			continue
		}
		if s.at <= after || s.text+uint64(len(r.text)) < r.next || int(s.key) != len(key) {
			return nil
		}
		text := r.text[s.text%uint64(len(r.text)):]
		if string(text[:s.key]) != string(key) {
			return nil
		}
		return text[s.key : s.key+s.mine : s.key+s.mine]
	}
	return nil
}
