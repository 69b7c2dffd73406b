package anomaly

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/lifecycle/tombstone"
)

// detector judges events. It is safe for concurrent use by batches of
// different partitions.
type detector struct {
	rules      *rulesFile
	state      *state
	partitions partitions
	stores     *stores
	notes      notes
	timing     timing
	learning   int64 // microseconds
	relearn    relearn
	day        atomic.Int32 // day of the newest baselines; -1: none
	now        func() time.Time
	meters     meters
	pool       sync.Pool // *[]item
	erased     atomic.Pointer[tombstone.Set]
}

// item is an event to be judged.
type item struct {
	msg    *service.Message
	event  event.Event
	key    deviceKey
	at     int64
	took   int64 // when it was received, in microseconds; 0: not known
	record event.Coordinates
	where  event.Coordinates
	home   *partition
	epoch  uint32
}

// mark judges the events of a batch that were not judged before. An error is one of the stores; the
// events are judged nevertheless.
func (d *detector) mark(ctx context.Context, batch service.MessageBatch) error {
	pooled, _ := d.pool.Get().(*[]item)
	if pooled == nil {
		pooled = new([]item)
	}
	items := d.read(batch, *pooled)
	defer func() {
		for i := range items {
			items[i].release()
		}
		*pooled = items[:0]
		d.pool.Put(pooled)
	}()
	err := d.prepare(ctx, items)
	now := d.now().Unix()
	samples := 0
	var out []transition
	for i := range items {
		it := &items[i]
		var n int
		if out, n = d.judge(it, now, out[:0]); len(out) > 0 {
			d.report(it, out)
		}
		samples += n
	}
	d.meters.samples.Incr(int64(samples))
	return err
}

// read parses the events that are to be judged.
func (d *detector) read(batch service.MessageBatch, items []item) []item {
	items = slices.Grow(items[:0], len(batch))
	skipped, erased := map[string]int64{}, d.erased.Load()
	for _, msg := range batch {
		record, where, ok := event.CoordinatesOf(msg)
		if !ok {
			continue
		}
		// Records that have failed before count, too: without them there would be a gap in the
		// offsets.
		home := d.partitions.get(record)
		epoch, fresh := home.advance(record.Offset, event.Meta(msg, event.HeaderReceivedAt))
		if msg.GetError() != nil {
			continue
		}
		if !fresh {
			skipped["redelivered"]++
			if alerts := home.recall(record.Offset); alerts != "" {
				msg.MetaSetMut(metaAlerts, alerts)
			}
			continue
		}
		if event.Meta(msg, event.MetaDuplicateOf) != "" {
			skipped["duplicate"]++
			continue
		}
		replay := event.Meta(msg, event.HeaderDelivery) != ""
		target := event.Meta(msg, event.HeaderTarget)
		if (replay || target != "") && !event.HasFlag(target, event.TargetDetect) {
			skipped["replay"]++
			continue
		}
		items = items[:len(items)+1]
		it := &items[len(items)-1]
		*it = item{msg: msg, record: record, where: where, home: home, epoch: epoch,
			event: event.Event{Metrics: it.event.Metrics, Extra: it.event.Extra}}
		left := !it.parse(replay)
		if !left && erased.Holds(it.key.fleet, it.key.device, it.took) {
			skipped["erased"]++
			left = true
		}
		if left {
			it.release()
			items = items[:len(items)-1]
		}
	}
	for reason, n := range skipped {
		d.meters.skipped.Incr(n, reason)
	}
	return items
}

// release lets go of the message and its bytes, and keeps the memory of readings.
func (it *item) release() {
	it.event.Release()
	*it = item{event: it.event}
}

func (it *item) parse(replay bool) bool {
	raw, err := it.msg.AsBytes()
	if err != nil {
		return false
	}
	if err := event.Parse(raw, &it.event); err != nil {
		return false // event_dedupe has reported it, and the raw stream accounts for it
	}
	received, ok := event.ReceivedAt(it.msg)
	if ok {
		it.took = received.UnixMicro()
	}
	ahead := ok && event.HasFlag(event.Meta(it.msg, event.HeaderFlags), event.FlagClockAhead)
	it.at = it.event.At(received, ahead).UnixMicro()
	it.key = deviceKey{event.FleetOf(it.msg), it.event.Device, replay}
	return true
}

// prepare makes sure that the devices of a batch are in memory, with what is stored of them.
func (d *detector) prepare(ctx context.Context, items []item) error {
	var want []wanted
	seen := map[deviceKey]bool{}
	now, day := d.now().Unix(), d.day.Load()
	for i := range items {
		it := &items[i]
		sh := d.state.shard(it.key)
		sh.mu.Lock()
		dev := sh.devices[it.key]
		if dev != nil && d.stale(dev, it) {
			d.state.remove(sh, dev)
			dev = nil
		}
		if dev == nil {
			dev = d.newDevice(it, now)
			d.state.put(sh, dev)
		}
		due := !dev.loaded || dev.usualDay != day && day >= 0
		if due && now >= dev.retryAt && !seen[it.key] {
			seen[it.key] = true
			want = append(want, wanted{dev.key, dev.firstAt, !dev.loaded})
		}
		sh.mu.Unlock()
	}
	if len(want) == 0 {
		return nil
	}
	found, err := d.stores.load(ctx, want, d.timing)
	result := "ok"
	if err != nil {
		result = "failed"
	}
	d.meters.loads.Incr(int64(len(want)), result)
	for _, w := range want {
		d.install(w, found[w.key], now, day)
	}
	return err
}

// stale tells whether the state of a device is of no more use, because another process has judged
// it in between, or a replay has begun again.
func (d *detector) stale(dev *device, it *item) bool {
	if dev.home == it.home && dev.epoch != it.epoch {
		return true
	}
	if !dev.key.replay {
		return false
	}
	return dev.newest-it.at > d.timing.width
}

func (d *detector) newDevice(it *item, now int64) *device {
	return &device{
		key:   deviceKey{strings.Clone(it.key.fleet), strings.Clone(it.key.device), it.key.replay},
		rules: d.rules.Get(), home: it.home, epoch: it.epoch, lastSeen: now, firstAt: it.at, firstTook: it.took, usualDay: -1,
		series: make([]series, 0, len(it.event.Metrics)),
	}
}

// install adds what was found to a device; without any (k is nil), it notes when to ask again.
func (d *detector) install(w wanted, k *known, now int64, day int32) {
	sh := d.state.shard(w.key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	dev := sh.devices[w.key]
	if dev == nil {
		return // evicted by others of the batch, which is larger than the state may be
	}
	if k == nil {
		dev.retryAt = now + int64(loadPause/time.Second)
		return
	}
	before := len(dev.series)
	if l, changed := dev.reconcile(k, d.relearn); changed {
		d.notes.add(dev.key, l)
	}
	dev.remember(k, d.timing, &d.state.names)
	dev.usualDay = day
	d.meters.evicted.Incr(int64(d.state.grown(sh, dev, len(dev.series)-before)))
}

// judge updates the state of an event's device, and returns the transitions and the number of
// judged readings.
func (d *detector) judge(it *item, now int64, out []transition) ([]transition, int) {
	sh := d.state.shard(it.key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	dev := sh.devices[it.key]
	if dev == nil {
		dev = d.newDevice(it, now)
		d.state.put(sh, dev)
	}
	if rules := d.rules.Get(); dev.rules != rules {
		dev.follow(rules)
	}
	dev.lastSeen, dev.home, dev.epoch = now, it.home, it.epoch
	d.follow(dev, it)

	r := reading{
		at: it.at, event: &it.event, fleet: it.key.fleet, where: it.where,
		received: event.Meta(it.msg, event.HeaderReceivedAt),
		learning: dev.learningFrom == 0 || it.at-dev.learningFrom < d.learning,
	}
	before := len(dev.series)
	out, samples, late := dev.observe(&r, event.Meta(it.msg, event.HeaderUnknownMetrics), d.timing, &d.state.names, out)
	if n := len(dev.series) - before; n > 0 {
		d.meters.evicted.Incr(int64(d.state.grown(sh, dev, n)))
	}
	if late > 0 {
		d.meters.skipped.Incr(int64(late), "late")
	}
	return out, samples
}

// follow notes the firmware of a device, and when its learning began, from its newest event. It
// stores them only after what is stored is known.
func (d *detector) follow(dev *device, it *item) {
	if it.at < dev.newest {
		return
	}
	dev.newest = it.at
	begins, first := dev.learningFrom == 0, dev.firmware == ""
	if begins {
		dev.learningFrom = it.at
	}
	from := dev.learningFrom
	changed := dev.update(it.event.Firmware, it.at, d.relearn)
	if dev.loaded && (changed || begins) {
		d.notes.add(dev.key, learn{firmware: dev.firmware, from: dev.learningFrom, void: !first && dev.learningFrom != from})
	}
}

// report marks an event with its transitions, and remembers them until it is
// acknowledged.
func (d *detector) report(it *item, out []transition) {
	raw, err := json.Marshal(out)
	if err != nil { // finite numbers and strings: cannot fail
		it.msg.SetError(err)
		return
	}
	it.msg.MetaSetMut(metaAlerts, string(raw))
	it.home.remember(it.record.Offset, string(raw))
	for i := range out {
		d.meters.transitions.Incr(1, string(out[i].Detector), out[i].Transition)
	}
}
