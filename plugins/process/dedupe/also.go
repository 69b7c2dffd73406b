package dedupe

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/conf"
)

// alsoOf reads the URLs of the stores in which events are claimed, by topic. Under "" is the URL for all other topics.
func alsoOf(parsed *service.ParsedConfig, rawURL string) (urls map[string]string, err error) {
	urls = map[string]string{"": rawURL}
	also, err := parsed.FieldObjectList(dedupeFieldAlso)
	if err != nil {
		return nil, fmt.Errorf("reading event_dedupe: %w", err)
	}
	for _, one := range also {
		var topic, url string
		if err := conf.Read(one, dedupeFieldTopic, &topic, dedupeFieldURL, conf.MaybeURL(&url, schemes()...)); err != nil {
			return nil, err
		}
		switch {
		case topic == "" || urls[topic] != "":
			return nil, fmt.Errorf("reading event_dedupe: field %s: expected topics, each once: %q", dedupeFieldAlso, topic)
		case url != "" && url != rawURL:
			urls[topic] = url
		}
	}
	return urls, nil
}

// share opens all stores, or none if one fails.
func (p *processor) share(stores *pool, res *service.Resources, urls map[string]string, ttl time.Duration) error {
	p.also = map[string]*handle{}
	for topic, url := range urls {
		h, release, err := stores.share(res, url, ttl, p.timeout)
		if err != nil {
			return errors.Join(err, p.letGo())
		}
		p.release = append(p.release, release)
		if topic == "" {
			p.handle = h
		} else {
			p.also[topic] = h
		}
	}
	return nil
}

// letGo releases the stores.
func (p *processor) letGo() (err error) {
	for _, release := range p.release {
		err = errors.Join(err, release())
	}
	return err
}

// storeOf returns the store in which an event is claimed.
func (p *processor) storeOf(d *delivery) *handle {
	if h := p.also[d.at.Topic]; h != nil {
		return h
	}
	return p.handle
}

// place is some events of a batch and the store in which they are claimed.
type place struct {
	handle *handle
	found  []delivery
}

// byStore groups the events of a batch by the store in which they are claimed, nearly always one.
func (p *processor) byStore(found []delivery) (places []place) {
	n := 0
	for n < len(found) && p.storeOf(&found[n]) == p.storeOf(&found[0]) {
		n++
	}
	if n == 0 {
		return nil
	}
	places = append(places, place{p.storeOf(&found[0]), found[:n:n]})
	for i := n; i < len(found); i++ {
		h := p.storeOf(&found[i])
		at := slices.IndexFunc(places, func(one place) bool { return one.handle == h })
		if at < 0 {
			at, places = len(places), append(places, place{handle: h})
		}
		places[at].found = append(places[at].found, found[i])
	}
	return places
}

// answering returns 1 while no store is known to be down, else 0.
func (p *processor) answering() int64 {
	if p.handle.circuit.Open() {
		return 0
	}
	for _, h := range p.also {
		if h.circuit.Open() {
			return 0
		}
	}
	return 1
}
