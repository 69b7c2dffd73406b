package dedupe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/kafka"
)

// logs returns the identities of the logs of topics, read since a time or later; *kafka.Logs does.
type logs interface {
	Of(ctx context.Context, since time.Time, topics ...string) ([]kafka.Log, error)
	Close()
}

// logOf reads the address of the log; nil if all claims end with the process, because those do not name their log.
func logOf(parsed *service.ParsedConfig, urls map[string]string) (*kafka.Cluster, error) {
	cluster, err := kafka.FromParsed(parsed)
	switch {
	case errors.Is(err, kafka.ErrNoBroker), err == nil && forgetful(urls):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading event_dedupe: %w", err)
	}
	return &cluster, nil
}

// forgetful reports whether all claims end with the process. If one store is durable, it may have claims of other
// processes, which name their log.
func forgetful(urls map[string]string) bool {
	for _, url := range urls {
		if !strings.HasPrefix(url, "memory:") {
			return false
		}
	}
	return true
}

const (
	// logAge is how long the identity of a log is used after it was read. If the topic is created again within that
	// time, a claim may name the old log, and is then no claim later. A verdict of duplicate always rests on an identity
	// that was read after the records were.
	logAge = 5 * time.Second
	// logPause is how long a batch waits before it asks the brokers again.
	logPause = time.Second
)

// settle claims events of a batch. It returns nil if they must pass without a claim: see ask.
func (p *processor) settle(ctx context.Context, at place) []claim {
	found := at.found
	if p.logs == nil {
		return p.ask(ctx, at, nil)
	}
	began := time.Now()
	if !p.name(ctx, found, began.Add(-logAge)) {
		return nil
	}
	claims := p.ask(ctx, at, nil)
	for claims != nil {
		foreign, ok := p.foreign(ctx, began, found, claims)
		if !ok {
			return nil
		} else if len(foreign) == 0 {
			return claims
		}
		again, old := make([]delivery, len(foreign)), make([][]byte, len(foreign))
		for n, i := range foreign {
			again[n], old[n] = found[i], claims[i].held
		}
		p.replaced.Incr(int64(len(foreign)))
		answers := p.ask(ctx, place{at.handle, again}, old)
		if answers == nil {
			return nil
		}
		for n, i := range foreign {
			claims[i] = answers[n]
		}
	}
	return nil
}

// name sets the identity of the log in each delivery, and waits until that is known. It returns false if weir is
// stopping.
func (p *processor) name(ctx context.Context, found []delivery, since time.Time) bool {
	var topics []string
	for i := range found {
		at := found[i].at.Topic
		if n := len(topics); (n == 0 || topics[n-1] != at) && !slices.Contains(topics, at) {
			topics = append(topics, at)
		}
	}
	own := func(topic string) bool {
		return slices.ContainsFunc(found, func(d delivery) bool { return d.own && d.at.Topic == topic })
	}
	known, ok := p.identify(ctx, since, topics, own)
	if !ok {
		return false
	}
	for i := range found {
		d := &found[i]
		if d.log = known[0]; d.at.Topic != topics[0] {
			d.log = known[slices.Index(topics, d.at.Topic)]
		}
	}
	return true
}

// identify waits until the identities of the topics' logs are known. The topics must exist, as those do from which
// records were read.
func (p *processor) identify(ctx context.Context, since time.Time, topics []string,
	exists func(string) bool) ([]kafka.Log, bool) {
	for said := false; ; {
		known, err := p.logs.Of(ctx, since, topics...)
		for i := range known {
			if known[i] == 0 && exists(topics[i]) {
				err = fmt.Errorf("reading which log topic %s is: the brokers have no such topic", topics[i])
			}
		}
		if err == nil {
			return known, true
		}
		if ctx.Err() == nil && !said {
			p.log.Warnf("events wait: %v", err)
			said = true
		}
		select {
		case <-ctx.Done():
			return nil, false
		case <-time.After(logPause):
			since = maxTime(since, time.Now().Add(-logPause)) // an older answer would not be new
		}
	}
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// foreign returns which claims are held for a record of another log, by the identities at present. It sets these
// identities in the deliveries.
func (p *processor) foreign(ctx context.Context, began time.Time, found []delivery, claims []claim) (which []int,
	ok bool) {
	var doubtful []int
	var topics []string
	for i := range claims {
		if c := &claims[i]; c.held != nil && !bytes.Equal(c.held, c.mine) {
			doubtful = append(doubtful, i)
			if at, _, err := readCoordinates(c.held); err == nil && !slices.Contains(topics, at.Topic) {
				topics = append(topics, at.Topic)
			}
		}
	}
	if len(doubtful) == 0 {
		return nil, true
	}
	known, ok := p.identify(ctx, began, topics, func(string) bool { return false })
	if !ok || !p.name(ctx, found, began) {
		return nil, false
	}
	for _, i := range doubtful {
		at, log, err := readCoordinates(claims[i].held)
		switch {
		case err != nil: // see mark
		case log == 0 || log != known[slices.Index(topics, at.Topic)]:
			which = append(which, i)
		case at == found[i].at: // its own claim, under the present identity of the log
			claims[i].held = claims[i].mine
		}
	}
	return which, true
}
