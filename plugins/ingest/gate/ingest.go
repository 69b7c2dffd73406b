package gate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"weir/internal/event"
)

// result is what became of each event of a request.
type result struct {
	items    []item
	rejected map[int]*event.Rejection // by index; the others are durable
}

// status returns the status of the reply as a whole.
func (r *result) status() int {
	switch len(r.rejected) {
	case 0:
		return http.StatusAccepted
	case len(r.items):
		return http.StatusBadRequest
	}
	return http.StatusMultiStatus
}

// emptyError says that a body has no event, and why.
type emptyError struct{ detail string }

func (e *emptyError) Error() string { return e.detail }

// ingest handles a body, by whatever protocol it came: it decodes, splits, charges and publishes
// it. The error is a *refusal, an *emptyError, or errClientGone. It takes over the request's hold.
func (g *gate) ingest(ctx context.Context, r *request, body []byte, f form) (result, error) {
	body, err := g.decoded(r, body, f)
	if err == nil {
		err = g.cut(r, body, f)
	}
	if err != nil {
		r.held.Release()
		return result{}, err
	}
	return g.settle(ctx, r)
}

func (g *gate) decoded(r *request, body []byte, f form) ([]byte, error) {
	if f.encoding == "" {
		return body, nil
	}
	decoded, err := g.decode.decode(f.encoding, body, g.conf.limits.body, r.held)
	if errors.Is(err, errUndecodable) {
		return nil, &emptyError{fmt.Sprintf("%v: it is no complete %s", err, f.encoding)}
	}
	if err == nil {
		r.held.Shrink(len(body))
	}
	return decoded, err
}

// settle charges and publishes a request that is cut into items. It takes over
// the request's hold.
func (g *gate) settle(ctx context.Context, r *request) (result, error) {
	if len(r.items) == 0 {
		r.held.Release()
		return result{}, &emptyError{"the body has no event"}
	}
	r.keepToPrefix()
	fresh := g.devices.admit(r)
	if ref := full(r.held.Charge(len(r.items))); ref != nil {
		g.devices.settle(r.fleet, fresh, none)
		r.held.Release()
		return result{}, ref
	}
	if r.admitted != nil {
		r.admitted()
	}
	rejected, err := g.publish(ctx, r)
	var ref *refusal
	if errors.As(err, &ref) {
		g.ready.refused(ref, time.Now())
	}
	if err != nil {
		g.devices.settle(r.fleet, fresh, none)
		r.held.Refund()
		return result{}, err
	}
	g.ready.taken()
	g.devices.settle(r.fleet, fresh, func(i int) bool { return rejected[i] == nil })
	g.count(len(r.items), rejected)
	return result{items: r.items, rejected: rejected}, nil
}

// none tells that no event of a request was accepted.
func none(int) bool { return false }

// cut splits the body into the request's items, and marks those that are known to be bad. A body
// that cannot be split becomes one bad item, so that it is dead-lettered as a whole.
func (g *gate) cut(req *request, body []byte, f form) error {
	var err error
	limit := g.conf.limits.batch
	items := make([]item, 0, min(limit, 1+len(body)/128))
	if utf16Text(body) {
		err = errUTF16
	} else if f.lines {
		items, err = splitLines(body, items, limit)
	} else {
		items, err = split(body, items, limit)
	}
	switch {
	case errors.Is(err, errTooMany):
		return batchTooLarge(limit)
	case err != nil:
		items = append(items[:0], item{raw: body, bad: event.Reject(event.CodeInvalidJSON, "", err.Error())})
	}
	for i := range items {
		if f.cloud && items[i].bad == nil {
			items[i] = fromCloudEvent(items[i])
		}
		if items[i].bad == nil {
			items[i].bad = g.conf.limits.check(&items[i])
		}
	}
	req.items = items
	return nil
}

// check checks the limits that the structure of an event shows.
func (l *limits) check(it *item) *event.Rejection {
	switch {
	case len(it.raw) > l.event:
		return event.Reject(event.CodeEventTooLarge, "", fmt.Sprintf("expected at most %d bytes", l.event))
	case it.depth > l.depth:
		return event.Reject(event.CodeInvalidJSON, "", fmt.Sprintf("expected at most %d levels of nesting", l.depth))
	case it.metrics > l.metrics:
		return event.Reject(event.CodeEventTooLarge, "/"+event.FieldMetrics, fmt.Sprintf("expected at most %d metrics",
			l.metrics))
	case it.longest > l.text:
		return event.Reject(event.CodeEventTooLarge, "", fmt.Sprintf("expected strings of at most %d bytes", l.text))
	}
	return nil
}
