package rollup

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// latest is what a device has reported last.
type latest struct {
	Metrics map[string]*metricRow // the window of each metric's newest reading
	Recent  []line                // the windows that began in the last five minutes
}

// latestWindows is how many of the newest windows are searched for the newest reading of each
// metric.
const latestWindows = 60

// errUnknownDevice says that the store has no window of the device.
var errUnknownDevice = errors.New("the device has not reported")

// latest returns the newest reading of each metric in the last latestWindows windows, and the
// windows that began at or after since.
func (s *Store) latest(ctx context.Context, fleet, device string, since int64) (*latest, error) {
	var rows []*windowRow
	err := s.view(ctx, span{Fleet: fleet, Devices: []string{device}, From: all.From, To: all.To}, func(t tx) (err error) {
		rows, err = t.newest(ctx, fleet, device, latestWindows)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the latest windows: %w", err)
	}
	if len(rows) == 0 {
		return nil, errUnknownDevice
	}
	out := &latest{Metrics: map[string]*metricRow{}}
	for _, r := range slices.Backward(rows) {
		for _, m := range r.Metrics {
			if have := out.Metrics[m.Name]; have == nil || have.LastAt <= m.LastAt {
				out.Metrics[m.Name] = m
			}
			if r.Bucket >= since {
				out.Recent = append(out.Recent, line{position: position{device, r.Bucket, m.Name}, metric: m})
			}
		}
	}
	return out, nil
}
