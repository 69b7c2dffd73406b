package api

import (
	"context"
	"net/http"
	"slices"

	"weir/internal/control/apikey"
	"weir/internal/control/hold"
	"weir/internal/platform/sqldb"
	"weir/plugins/operate/erasure"
)

// erasures returns the handler of erasures. The known fleets are those that ever had a key.
func (in *input) erasures(ctx context.Context, control *sqldb.DB, keys *apikey.Store) (http.Handler, error) {
	store, err := erasure.OpenStore(ctx, control)
	if err != nil {
		return nil, err
	}
	holds, err := hold.Open(ctx, control)
	if err != nil {
		return nil, err
	}
	return erasure.Handler(store, holds, func(ctx context.Context) ([]string, error) {
		list, err := keys.List(ctx, "")
		if err != nil {
			return nil, err
		}
		var fleets []string
		for _, k := range list {
			if !k.Admin {
				fleets = append(fleets, k.Fleet)
			}
		}
		slices.Sort(fleets)
		return slices.Compact(fleets), nil
	}), nil
}
