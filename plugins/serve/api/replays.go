package api

import (
	"context"
	"errors"
	"fmt"

	"weir/internal/control/group"
	"weir/plugins/operate/replay"
)

// devicesOf resolves the groups that replays name.
func devicesOf(groups *group.Store) replay.GroupDevices {
	return func(ctx context.Context, fleet, name string) ([]string, error) {
		g, err := groups.Get(ctx, fleet, name)
		if errors.Is(err, group.ErrNotFound) {
			return nil, fmt.Errorf("%w: %w", replay.ErrNotFound, err)
		} else if err != nil {
			return nil, err
		}
		return g.Devices, nil
	}
}
