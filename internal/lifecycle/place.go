package lifecycle

import (
	"context"
	"fmt"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/sqldb"
)

// Places opens the places of one deployment, each once. It must not be used concurrently.
type Places struct {
	res     *service.Resources
	urls    map[Place]string
	sql     map[Place]opened
	release []func()
}

type opened struct {
	db  *sqldb.DB
	err error
}

// NewPlaces returns places with these URLs. It opens nothing.
func NewPlaces(res *service.Resources, urls map[Place]string) *Places {
	return &Places{res: res, urls: urls, sql: map[Place]opened{}}
}

// SQL opens a database that other components of the process may share. A failure is remembered: later calls return
// the same error without trying again.
func (p *Places) SQL(ctx context.Context, at Place) (*sqldb.DB, error) {
	if o, ok := p.sql[at]; ok {
		return o.db, o.err
	}
	db, release, err := sqldb.Shared(ctx, p.res, p.urls[at])
	if err != nil {
		err = fmt.Errorf("opening the store of %s: %w", at, err)
	} else {
		p.OnClose(release)
	}
	p.sql[at] = opened{db, err}
	return db, err
}

// URL returns the URL of a place.
func (p *Places) URL(at Place) string { return p.urls[at] }

// Resources returns the resources of the component that opens the places.
func (p *Places) Resources() *service.Resources { return p.res }

// OnClose registers a function that Close calls, in reverse order.
func (p *Places) OnClose(release func()) { p.release = append(p.release, release) }

// Close releases everything that was opened.
func (p *Places) Close() {
	for i := len(p.release) - 1; i >= 0; i-- {
		p.release[i]()
	}
	p.release, p.sql = nil, map[Place]opened{}
}
