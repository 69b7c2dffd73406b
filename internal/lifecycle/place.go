package lifecycle

import (
	"context"
	"fmt"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/sqldb"
)

// Places opens the places of one weir, each once. It is for one goroutine.
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

// NewPlaces returns places by their URLs. Nothing is opened yet.
func NewPlaces(res *service.Resources, urls map[Place]string) *Places {
	return &Places{res: res, urls: urls, sql: map[Place]opened{}}
}

// SQL opens a database, which other components of the process share. One that
// does not answer is asked once.
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

// URL is where a place is.
func (p *Places) URL(at Place) string { return p.urls[at] }

// Resources are those of the component that opens the places.
func (p *Places) Resources() *service.Resources { return p.res }

// OnClose has something released with the places.
func (p *Places) OnClose(release func()) { p.release = append(p.release, release) }

// Close releases what was opened.
func (p *Places) Close() {
	for i := len(p.release) - 1; i >= 0; i-- {
		p.release[i]()
	}
	p.release, p.sql = nil, map[Place]opened{}
}
