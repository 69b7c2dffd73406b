package replay

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/plugins/store/raw"
)

func enrichedSpec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Version("1.0.0").
		Categories("Weir").
		Summary("Stores what a look-up added to the event of a replay job, and ends the message.").
		Description(`
Put it after `+"`enrich`"+` and after the processors that remove personal data, for messages of the input `+"`replay_jobs`"+` with the metadata `+"`local_enrich`"+`. What
the event has then, and the stored event does not have, is stored beside that. A message that is not of such a job passes.`).
		Example("Look-ups that failed are asked again", "", `
pipeline:
  processors:
    - switch:
        - check: '@local_enrich.or("") != ""'
          processors:
            - enrich:
                lookups:
                  - name: profile
                    key: ${! this.user.id }
                    redis: redis://profiles:6379
                    result_map: root.context.profile = this
            - privacy: { actions: { email: hash } }
            - replay_enriched: {}
`)
}

// metaAsk is the *question that a message is of.
const metaAsk = "local_ask"

// enriched is replay_enriched.
type enriched struct{}

// Process notes what came of a look-up, and drops the message.
func (enriched) Process(_ context.Context, msg *service.Message) (service.MessageBatch, error) {
	value, _ := msg.MetaGetImmut(metaAsk)
	a, is := value.(*question)
	if !is {
		return service.MessageBatch{msg}, nil
	}
	return nil, a.note(msg)
}

func (enriched) Close(context.Context) error { return nil }

// question is a look-up that is asked again for an event.
type question struct {
	message *service.Message
	sent    []byte // the event as it is stored
	later   raw.Later

	mu   sync.Mutex
	said said
}

// said is what came of a question.
type said struct {
	outcome string // event.Enriched…, askRefused, askDropped, "" when nobody has such a look-up
	event   []byte // with what was found
	version string // of the look-up
}

const (
	askRefused = "refused" // the event failed on its way
	askDropped = "dropped" // it has not come back
)

func (a *question) answer() said {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.said
}

func (a *question) set(s said) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.said = s
}

// refused notes that an event failed on its way.
func (a *question) refused(*event.Rejection) { a.set(said{outcome: askRefused}) }

// note takes the answer of the message that was made of the question.
func (a *question) note(msg *service.Message) error {
	if msg.GetError() != nil {
		a.refused(nil)
		return nil
	}
	s := said{outcome: event.Meta(msg, event.MetaEnriched)}
	if s.outcome == event.EnrichedFound {
		body, err := msg.AsBytes()
		if err != nil {
			return fmt.Errorf("reading what a look-up said: %w", err)
		}
		s.event = bytes.Clone(body)
		for _, item := range event.Items(event.Meta(msg, event.HeaderEnriched)) { // the last is today's
			if version, of := strings.CutPrefix(item, a.later.Lookup+"@"); of {
				s.version = strings.Clone(version)
			}
		}
	}
	a.set(s)
	return nil
}

// difference is what an event has that another one has not, or has otherwise: a JSON
// object. Numbers keep their text.
func difference(before, after []byte) ([]byte, error) {
	was, is := map[string]any{}, map[string]any{}
	if err := errors.Join(decode(before, &was), decode(after, &is)); err != nil {
		return nil, errors.New("comparing an event with what a look-up made of it: it is no JSON object") // no payload
	}
	facts := subtract(is, was)
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(facts); err != nil {
		return nil, fmt.Errorf("writing what a look-up said: %w", err)
	}
	return bytes.TrimSpace(out.Bytes()), nil
}

func decode(raw []byte, into *map[string]any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	return d.Decode(into)
}

// subtract leaves of an object what another one has not as well.
func subtract(is, was map[string]any) map[string]any {
	out := map[string]any{}
	for name, value := range is {
		old, had := was[name]
		object, nested := value.(map[string]any)
		before, nested2 := old.(map[string]any)
		switch {
		case had && nested && nested2:
			if inner := subtract(object, before); len(inner) > 0 {
				out[name] = inner
			}
		case !had || !reflect.DeepEqual(value, old):
			out[name] = value
		}
	}
	return out
}
