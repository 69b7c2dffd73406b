package dedupe

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/platform/kafka"
)

// delivery has what dedupe needs of an event of a batch.
type delivery struct {
	msg   *service.Message
	id    [16]byte
	fleet string
	at    event.Coordinates
	log   kafka.Log // of at; 0 when nobody asks for it, or when there is none
	own   bool      // at is where the record itself lies, so the brokers have its topic
}

var errNotFromLog = errors.New("claiming an event: the message has no kafka_topic, kafka_partition and " +
	"kafka_offset; event_dedupe needs a Kafka input before it")

// read returns the events of a batch. It marks messages that are not events as failed, and ignores those that failed
// before.
func (p *processor) read(batch service.MessageBatch) []delivery {
	e := p.events.Get().(*event.Event)
	defer func() {
		e.Release()
		p.events.Put(e)
	}()
	found := make([]delivery, 0, len(batch))
	for _, msg := range batch {
		if msg.GetError() != nil {
			continue
		}
		record, at, ok := event.CoordinatesOf(msg)
		if !ok {
			msg.SetError(errNotFromLog)
			continue
		}
		raw, err := msg.AsBytes()
		if err != nil {
			msg.SetError(err)
			continue
		}
		if err := event.Parse(raw, e); err != nil {
			var r *event.Rejection
			if !errors.As(err, &r) {
				r = event.Reject(event.CodeInvalidEvent, "", err.Error())
			}
			event.MarkRejected(msg, r)
			p.verdicts.Incr(1, "rejected")
			continue
		}
		if _, log, again := event.FirstDelivery(msg); again && passes(msg, log) {
			continue
		}
		found = append(found, delivery{msg: msg, id: e.UUID, fleet: event.FleetOf(msg), at: at,
			own: at.Topic == record.Topic})
	}
	return found
}

// passes reports whether a record that was published again passes without a claim, to sinks that recognise the event
// by its id. If its log is not known, its old coordinates may be those that hold the claim, or those of another
// record. A record of an older log that is not for the raw store cannot represent the event there.
func passes(msg *service.Message, log string) bool {
	return log == event.UnknownLog || log != "" && !event.Targeted(msg, event.TargetRaw)
}

// newClaims makes the claims of a batch, in one piece of memory. Each attempt has its own, because a store that timed
// out may still be reading the last one. old are the claims to replace, nil for none.
func newClaims(found []delivery, old [][]byte) []claim {
	size := 0
	for i := range found {
		size += 16 + len(found[i].fleet) + 16 + len(found[i].at.Topic) + logBytes
	}
	b := make([]byte, 0, size) // coordinates take at most 15 bytes more than the topic
	claims := make([]claim, len(found))
	for i := range found {
		d, c := &found[i], &claims[i]
		start := len(b)
		b = appendKey(b, d.fleet, d.id)
		middle := len(b)
		b = appendCoordinates(b, d.at, d.log)
		c.key, c.mine = b[start:middle:middle], b[middle:len(b):len(b)]
		if old != nil {
			c.old = old[i]
		}
	}
	return claims
}

// stallStep is how often a stalled batch checks whether it may ask again.
const stallStep = 20 * time.Millisecond

// ask returns the answered claims of events of the batch, or nil if these must pass without a claim: the store is
// down, or weir is stopping.
func (p *processor) ask(ctx context.Context, at place, old [][]byte) []claim {
	circuit := &at.handle.circuit
	for {
		if circuit.Enter(time.Now()) {
			claims := newClaims(at.found, old)
			err := p.attempt(ctx, at.handle, claims)
			if err == nil {
				return claims
			}
			if ctx.Err() != nil {
				circuit.Leave()
				return nil
			}
			p.failures.Incr(1)
			if circuit.Fail(time.Now()) {
				p.log.Warnf("the claims store is down (on_error: %s): %v", p.onError(), err)
			}
		}
		p.up.Set(0)
		if !p.stall {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(stallStep):
		}
	}
}

// openTimeout bounds the wait for an embedded store to recover after a crash.
const openTimeout = 30 * time.Second

func (p *processor) attempt(parent context.Context, h *handle, claims []claim) error {
	ctx, cancel := context.WithTimeout(parent, openTimeout)
	defer cancel()
	if err := h.store.open(ctx); err != nil {
		return err
	}
	ctx, cancel = context.WithTimeout(parent, p.timeout)
	defer cancel()
	if err := h.store.claim(ctx, claims); err != nil {
		return err
	}
	if h.circuit.Succeed() {
		p.log.Infof("the claims store is back")
	}
	p.up.Set(p.answering())
	return nil
}

func (p *processor) onError() string {
	if p.stall {
		return onErrorStall
	}
	return onErrorPass
}

// mark marks the messages by the outcome of their claims.
func (p *processor) mark(found []delivery, claims []claim) {
	var claimed, before, duplicate, unclaimed, searched int64
	for i := range claims {
		if claims[i].searched {
			searched++
		}
		switch c := &claims[i]; {
		case c.held == nil:
			claimed++
		case bytes.Equal(c.held, c.mine):
			before++
		default:
			canonical, _, err := readCoordinates(c.held)
			if err != nil { // another program wrote the key: treat it as no claim
				record, _, _ := event.CoordinatesOf(found[i].msg)
				p.log.Errorf("claiming the event at %s%s: %v", record, event.OfRequest(found[i].msg), err)
				found[i].msg.MetaSetMut(event.MetaUnclaimed, "1")
				unclaimed++
				continue
			}
			found[i].msg.MetaSetMut(event.MetaDuplicateOf, canonical.String())
			duplicate++
		}
	}
	p.searched.Incr(searched)
	for verdict, n := range map[string]int64{
		"claimed": claimed, "claimed_before": before, "duplicate": duplicate, "unclaimed": unclaimed,
	} {
		if n > 0 {
			p.verdicts.Incr(n, verdict)
		}
	}
}

// pass flags events that pass without a claim.
func (p *processor) pass(found []delivery) {
	for i := range found {
		found[i].msg.MetaSetMut(event.MetaUnclaimed, "1")
	}
	p.verdicts.Incr(int64(len(found)), "unclaimed")
}
