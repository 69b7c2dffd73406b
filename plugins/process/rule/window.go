package rule

import (
	"fmt"
	"maps"
	"slices"
	"time"
	_ "time/tzdata" // time zones must work on machines without a zone database
)

// windowSpec says which events a rule counts together. It has one of grid, gap and count. Times are in µs since 1970
// throughout, durations in µs.
type windowSpec struct {
	grid     *grid // of tumbling and sliding windows
	gap      int64 // of sessions
	count    int64 // of count windows: how many events
	max      int64 // of count windows: how long one that is not full stays open
	lateness int64 // the allowed lateness
}

// maxPanes bounds the number of panes of a sliding window.
const maxPanes = 3600

func (c *checker) window(text *windowText) *windowSpec {
	w := &windowSpec{}
	if text.Lateness == "" && text.Type != "count" {
		c.at("window.allowed_lateness", "is missing: say how long after its end an event may still correct a window; 0s "+
			"is not at all")
	} else if text.Lateness != "" {
		w.lateness = c.duration("window.allowed_lateness", text.Lateness, 0)
	}
	only := map[string]string{"every": text.Every, "gap": text.Gap, "max": text.Max, "align": text.Align,
		"timezone": text.Timezone, "size": text.Size, "allowed_lateness": text.Lateness}
	var has []string
	switch text.Type {
	case "tumbling":
		has = []string{"size", "align", "timezone", "allowed_lateness"}
		w.grid = c.tumbling(text)
	case "sliding":
		has = []string{"size", "every", "align", "allowed_lateness"}
		w.grid = c.sliding(text)
	case "session":
		has = []string{"gap", "allowed_lateness"}
		w.gap = c.duration("window.gap", text.Gap, time.Millisecond)
	case "count":
		has = []string{"size", "max"}
		w.count = c.number("window.size", text.Size)
		w.max = c.duration("window.max", text.Max, time.Second)
	default:
		c.at("window.type", "%q is not one of tumbling, sliding, session, count", text.Type)
		return w
	}
	for _, name := range has {
		delete(only, name)
	}
	for _, name := range slices.Sorted(maps.Keys(only)) {
		if only[name] != "" {
			c.at("window."+name, "does not apply to a %s window: take it out", text.Type)
		}
	}
	return w
}

func (c *checker) number(field, text string) (n int64) {
	for _, d := range text {
		if d < '0' || d > '9' || n > 1e6 {
			n = 0
			break
		}
		n = n*10 + int64(d-'0')
	}
	if n < 1 || n > 1e6 {
		c.at(field, "%q is not a number of events: write one from 1 to 1000000", text)
		return 1
	}
	return n
}

func (c *checker) tumbling(text *windowText) *grid {
	switch text.Size {
	case "day", "week", "month":
		zone, err := time.LoadLocation(text.Timezone)
		if err != nil || text.Timezone == "" || text.Timezone == "Local" {
			c.at("window.timezone", "%q is not a time zone: write the one of the %s, such as Europe/Berlin", text.Timezone,
				text.Size)
			return nil
		}
		align := int64(0)
		if text.Align != "" {
			align = c.duration("window.align", text.Align, 0)
		}
		if align >= 24*time.Hour.Microseconds() {
			c.at("window.align", "%s is not less than a day: write a shorter time", text.Align)
		}
		return &grid{calendar: &calendar{unit: text.Size, zone: zone, align: time.Duration(align) * time.Microsecond}}
	}
	if text.Timezone != "" {
		c.at("window.timezone", "applies only to the sizes day, week and month: take it out")
	}
	size := c.duration("window.size", text.Size, time.Millisecond)
	return c.fixed(text, size, size)
}

func (c *checker) sliding(text *windowText) *grid {
	size, every := c.duration("window.size", text.Size, time.Millisecond), c.duration("window.every", text.Every,
		time.Millisecond)
	if size == 0 || every == 0 {
		return nil
	}
	if every > size {
		c.at("window.every", "%s is longer than the size, so that events between two windows would not be counted: write "+
			"a shorter time", text.Every)
		return nil
	}
	if panes := size / gcd(size, every); panes > maxPanes {
		c.at("window.every", "a window of %s every %s is made of %d panes, more than %d: choose a longer every, or one "+
			"that divides the size",
			text.Size, text.Every, panes, maxPanes)
		return nil
	}
	return c.fixed(text, size, every)
}

func (c *checker) fixed(text *windowText, size, every int64) *grid {
	if size == 0 {
		return nil
	}
	g := &grid{size: size, every: every, pane: gcd(size, every)}
	if text.Align != "" {
		g.align = c.duration("window.align", text.Align, 0)
	}
	if g.align >= every {
		c.at("window.align", "%s is not less than the %s from one window to the next: write a shorter time", text.Align,
			time.Duration(every)*time.Microsecond)
	}
	return g
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// grid are windows [start, end) of a fixed length, or of a calendar. A window consists of panes; when windows slide, a
// pane belongs to several of them.
type grid struct {
	size, every, pane, align int64
	calendar                 *calendar // if not nil, the other fields are not used
}

func floor(t, unit int64) int64 {
	q := t % unit
	if q < 0 {
		q += unit
	}
	return t - q
}

// at returns the start of the pane of a time.
func (g *grid) at(t int64) int64 {
	if g.calendar != nil {
		start, _ := g.calendar.span(t)
		return start
	}
	return floor(t-g.align, g.pane) + g.align
}

// ends returns the ends of the first and of the last window that a pane belongs to.
func (g *grid) ends(pane int64) (first, last int64) {
	if g.calendar != nil {
		_, end := g.calendar.span(pane)
		return end, end
	}
	return g.after(pane), floor(pane-g.align, g.every) + g.align + g.size
}

// after returns the first end of a window that is later than a time.
func (g *grid) after(t int64) int64 {
	if g.calendar != nil {
		_, end := g.calendar.span(t)
		return end
	}
	return floor(t-g.size-g.align, g.every) + g.every + g.size + g.align
}

// start returns the start of the window with an end.
func (g *grid) start(end int64) int64 {
	if g.calendar != nil {
		start, _ := g.calendar.span(end - 1)
		return start
	}
	return end - g.size
}

// calendar are days, weeks (from Monday) or months of a time zone. A day can have 23 or 25 hours.
type calendar struct {
	unit  string
	zone  *time.Location
	align time.Duration // how long after midnight they begin, by the clock of the zone
}

// span returns the window that a time is in.
func (c *calendar) span(t int64) (start, end int64) {
	local := time.UnixMicro(t).In(c.zone)
	year, month, day := local.Date()
	switch c.unit {
	case "week":
		day -= (int(local.Weekday()) + 6) % 7
	case "month":
		day = 1
	}
	for n := 0; ; {
		start, end = c.begin(year, month, day, n), c.begin(year, month, day, n+1)
		switch {
		case t < start:
			n--
		case t >= end:
			n++
		default:
			return start, end
		}
	}
}

// begin returns the start of the nth window after the one that begins on a date; n may be negative.
func (c *calendar) begin(year int, month time.Month, day, n int) int64 {
	switch c.unit {
	case "week":
		day += 7 * n
	case "month":
		month += time.Month(n)
	default:
		day += n
	}
	minutes, rest := int(c.align/time.Minute), int(c.align%time.Minute)
	return time.Date(year, month, day, 0, minutes, 0, rest, c.zone).UnixMicro()
}

// Describe says in words what the rule's window, pattern or join is, and when its results come with a delay of the
// stream.
func (r *Rule) Describe(delay time.Duration) string {
	switch {
	case r.pattern != nil:
		return r.pattern.describe(delay)
	case r.join != nil:
		return r.join.describe(delay)
	}
	w := r.window
	span := func(micros int64) time.Duration { return time.Duration(micros) * time.Microsecond }
	var text string
	switch {
	case w.grid == nil && w.gap > 0:
		text = fmt.Sprintf("sessions that end with a gap of %s, emitted %s after it", span(w.gap), delay)
	case w.grid == nil:
		return fmt.Sprintf("each %d events, emitted with the last of them; a window that is not full after %s is emitted "+
			"%s later", w.count,
			span(w.max), delay)
	case w.grid.calendar != nil:
		text = fmt.Sprintf("each %s of %s, emitted %s after its end", w.grid.calendar.unit, w.grid.calendar.zone, delay)
	case w.grid.every < w.grid.size:
		text = fmt.Sprintf("windows of %s, one each %s, made of panes of %s, emitted %s after their end", span(w.grid.size),
			span(w.grid.every), span(w.grid.pane), delay)
	default:
		text = fmt.Sprintf("windows of %s, emitted %s after their end", span(w.grid.size), delay)
	}
	switch {
	case r.emit.update:
		text += ", and with every event before that"
	case r.emit.every > 0:
		text += fmt.Sprintf(", and every %s before that if anything changed", span(r.emit.every))
	}
	if w.lateness == 0 {
		return text + "; never corrected: an event that comes later is late"
	}
	return text + fmt.Sprintf("; corrected for %s more: an event that comes after that is late", span(w.lateness))
}
