package simulate

import "time"

// Ages of events, relative to the time they are sent.
const (
	readAgo    = 2 * time.Second // the maximum age of an ordinary reading
	lateFrom   = 15 * time.Minute
	lateTo     = 26 * time.Hour
	aheadFrom  = 6 * time.Minute
	aheadTo    = 400 * 24 * time.Hour
	lateBeyond = 10 * time.Minute // a reading of a series older than this counts as late
)

// build makes the next request of up to n events, or an empty one when the plan is done.
func (w *worker) build(n int, now time.Time) {
	w.items = w.items[:0]
	w.body = w.conf.Format.open(w.body[:0], n)
	for range n {
		mark := len(w.body)
		if len(w.items) > 0 {
			w.body = w.conf.Format.between(w.body)
		}
		it := item{seq: w.sent*int64(w.plan.of) + int64(w.plan.index), start: len(w.body)}
		var ok bool
		if it.kind, ok = w.appendNext(it.seq, now); !ok {
			w.body = w.body[:mark]
			break
		}
		it.end = len(w.body)
		w.items = append(w.items, it)
		w.sent++
	}
	w.body = w.conf.Format.close(w.body, n)
}

// appendNext appends the next event to the body. It returns false when the plan is done.
func (w *worker) appendNext(seq int64, now time.Time) (Kind, bool) {
	left := w.reading < len(w.plan.readings)
	if left && w.plan.isReading(w.sent) {
		return w.appendReading(now), true
	}
	if w.plan.devices == 0 {
		if left { // the share was rounded down: send the rest at the end
			return w.appendReading(now), true
		}
		return "", false
	}
	kind := w.conf.Shares.kind(&w.random)
	if kind == kindDuplicate {
		if old := w.recent.pick(&w.random); old != nil {
			w.body = append(w.body, old...)
			return kindDuplicate, true
		}
		kind = kindValid // nothing sent yet to duplicate
	}
	device := w.plan.index + w.plan.of*(w.turn%w.plan.devices)
	w.turn++
	at := now
	switch kind {
	case kindLate:
		at = now.Add(-w.between(lateFrom, lateTo))
	case kindClockAhead:
		at = now.Add(w.between(aheadFrom, aheadTo))
	default:
		at = now.Add(-w.between(0, readAgo))
	}
	text := w.clock.render(at)
	start := len(w.body)
	if kind == kindMalformed {
		var id [160]byte
		w.body = appendMalformed(w.body, &w.random, w.model.appendDevice(id[:0], device), text, seq)
		return kind, true
	}
	w.body = w.model.appendEvent(w.body, &w.random, device, text, at)
	if w.conf.Shares.Duplicates > 0 && kind != kindClockAhead { // there, the kept copy decides which time counts
		w.recent.offer(&w.random, w.body[start:])
	}
	return kind, true
}

func (w *worker) between(from, to time.Duration) time.Duration {
	return from + time.Duration(w.random.below(int((to-from)/time.Millisecond)))*time.Millisecond
}

// appendReading appends the next reading of a series.
func (w *worker) appendReading(now time.Time) Kind {
	r := &w.plan.readings[w.reading]
	w.reading++
	b := append(w.body, `{"event_id":"`...)
	b = w.random.appendUUID(b)
	b = append(append(b, `","device_id":"`...), r.device...)
	b = append(b, w.real.header...)
	b = append(b, w.clock.render(r.At)...)
	b = append(append(b, `","metrics":{"cpu_temp":`...), r.Value...)
	b = w.model.appendReadings(append(b, ','), &w.random, w.real.readings, mix(w.model.seed), r.At)
	w.body = append(b, '}', '}')
	if r.At.Before(now.Add(-lateBeyond)) {
		return kindLate
	}
	return kindValid
}

// ring remembers some of the events sent lately.
type ring struct {
	events [64][]byte
	n      int
}

// offer keeps a copy of one event in four.
func (r *ring) offer(random *source, event []byte) {
	if random.next()&3 != 0 {
		return
	}
	slot := &r.events[r.n%len(r.events)]
	*slot = append((*slot)[:0], event...)
	r.n++
}

// pick returns one of them, or nil.
func (r *ring) pick(random *source) []byte {
	if r.n == 0 {
		return nil
	}
	return r.events[random.below(min(r.n, len(r.events)))]
}
