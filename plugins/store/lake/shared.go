package lake

import (
	"context"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/calls"
	"weir/internal/platform/pool"
)

// Shared opens a store, or returns the one that another component of this process has open for the
// same URL. The caller must call release once.
func Shared(ctx context.Context, res *service.Resources, rawURL string) (s *Store, release func(), err error) {
	return pool.Shared(ctx, res, rawURL, func(_ context.Context, rawURL string) (*Store, error) {
		return openStore(rawURL, openFile, func() *calls.Meter {
			return calls.Of(res, "s3", callGet, callPut, callList, callDelete, callHead, callOther)
		})
	})
}
