package registry

import (
	"context"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/sqldb"
)

// sqlSource reads a registry's store directly, without the API. It opens the store at the first
// load, and again until that succeeds.
type sqlSource struct {
	res      *service.Resources
	url      string
	registry *Registry
	release  func()
}

func (s *sqlSource) load(ctx context.Context, subject string) ([]document, error) {
	if s.registry == nil {
		r, release, err := sqldb.SharedAs(ctx, s.res, s.url, Open)
		if err != nil {
			return nil, err
		}
		s.registry, s.release = r, release
	}
	versions, err := versionsOf(ctx, s.registry.store.db, subject, withoutDeleted)
	if err != nil {
		return nil, err
	}
	if len(versions) == 0 {
		return nil, errNoSchemas
	}
	docs := make([]document, len(versions))
	for i, v := range versions {
		text, err := v.text(ctx, s.registry.store.db)
		if err != nil {
			return nil, err
		}
		docs[i] = document{Version: v.Version, Schema: text}
	}
	return docs, nil
}

func (s *sqlSource) close() {
	if s.release != nil {
		s.release()
	}
}
