package privacy

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/live"
	"weir/internal/platform/secret"
)

// ring is the keys in force, and those of fleets that were made of them. A batch
// goes by one of them.
type ring struct {
	keys *keyring

	mu     sync.Mutex
	fleets map[string]*fleetKeys
}

// mostFleets is how many fleets' keys are kept; more are made anew.
const mostFleets = 10_000

func newRing(keys *keyring) *ring { return &ring{keys: keys, fleets: map[string]*fleetKeys{}} }

func (r *ring) of(fleet string) *fleetKeys {
	r.mu.Lock()
	defer r.mu.Unlock()
	keys, ok := r.fleets[fleet]
	if !ok {
		if len(r.fleets) >= mostFleets {
			clear(r.fleets)
		}
		keys = r.keys.of(fleet)
		r.fleets[fleet] = keys
	}
	return keys
}

// ids are those of the keys, newest first: they are in each token.
func (r *keyring) ids() string {
	ids := make([]string, len(r.keys))
	for i := range r.keys {
		ids[i] = r.keys[i].id
	}
	return strings.Join(ids, ", ")
}

// errNoKeys leaves the keys as they are: without any, devices would become one.
var errNoKeys = errors.New("there are none any more")

// followed are keys that are kept elsewhere, and may change while weir runs.
func followed(setting string) *live.Value[string, ring] {
	return live.New(live.Source[string, ring]{
		Load: func(ctx context.Context) (string, error) { return secret.Value(ctx, setting) },
		Same: func(a, b string) bool { return a == b },
		Build: func(text string) (*ring, error) {
			keys, err := parseKeys(text)
			if err == nil && len(keys.keys) == 0 {
				err = errNoKeys
			}
			if err != nil {
				return nil, err
			}
			return newRing(keys), nil
		},
	})
}

// follow takes keys that change where they are kept, until the returned function
// is called. What cannot be read, or is wrong, leaves them as they are.
func (p *processor) followKeys(setting, have string, every time.Duration, log *service.Logger) (stop func(),
	err error) {
	keys := followed(setting)
	if err := keys.Use(have); err != nil {
		return nil, err
	}
	p.ring.Store(keys.Get())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		live.Follow(ctx, every, 30*time.Second, false, func(ctx context.Context) error {
			changed, err := keys.Refresh(ctx)
			if changed {
				p.ring.Store(keys.Get())
				log.Infof("the keys of privacy changed: in force, newest first, are %s", keys.Get().keys.ids())
			}
			return err
		}, func(err error) {
			if err == nil {
				log.Infof("the keys of privacy can be read again")
				return
			}
			log.Errorf("reading the keys of privacy; those in force stay so: %v", err)
		})
	}()
	return func() { cancel(); <-done }, nil
}
