package anomaly

import (
	"context"
	"math"
	"time"
)

const (
	daySeconds   = 86400
	baselineDays = 7
	// settle is how long after midnight the rollups of a day are assumed to be complete.
	settle = time.Hour
)

// dayOf returns the newest day whose baselines can be computed at a time: they are of the seven
// full days before it.
func dayOf(now time.Time) int32 {
	return int32(now.Add(-settle).Unix() / daySeconds)
}

// usualOf merges the rollups of the seven days before a day into baselines of the devices in
// learning, from the time at which the learning of each began.
func usualOf(ctx context.Context, r rollups, day int32, learning map[deviceKey]int64) (map[deviceKey]map[string]stats,
	error) {
	usual := map[deviceKey]map[string]stats{}
	for d := int64(day) - baselineDays; d < int64(day); d++ {
		err := r.day(ctx, d*daySeconds, func(fleet, device string, m minute) {
			key := deviceKey{fleet: fleet, device: device}
			from, ok := learning[key]
			if !ok || m.start*1e6 < from {
				return
			}
			of := usual[key]
			if of == nil {
				of = map[string]stats{}
				usual[key] = of
			}
			s := of[m.metric]
			s.merge(m.stats)
			if sum := s.mean + s.m2; !math.IsInf(sum, 0) && !math.IsNaN(sum) {
				of[m.metric] = s
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return usual, nil
}

// computeBaselines computes and stores the baselines that are due, if they are not stored yet, and
// returns the newest day with baselines. Several processes may do it at the same time: they store
// the same.
func computeBaselines(ctx context.Context, m memory, r rollups, now time.Time) (int32, error) {
	newest, err := m.newestDay(ctx)
	if err != nil {
		return -1, err
	}
	day := dayOf(now)
	if newest >= day {
		return newest, nil
	}
	if ok, err := r.ready(ctx); !ok || err != nil {
		return newest, err
	}
	learning, err := m.learning(ctx)
	if err != nil {
		return newest, err
	}
	usual, err := usualOf(ctx, r, day, learning)
	if err != nil {
		return newest, err
	}
	if err := m.storeUsual(ctx, day, usual, learning, now); err != nil {
		return newest, err
	}
	return day, nil
}
