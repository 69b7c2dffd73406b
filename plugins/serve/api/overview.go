package api

import (
	"cmp"
	"context"
	"slices"
	"time"

	"weir/internal/control/status"
	"weir/internal/platform/sqldb"
	"weir/plugins/notify/alert"
	"weir/plugins/operate/reconcile"
	"weir/plugins/serve/overview"
	"weir/plugins/store/lake"
	"weir/plugins/store/rollup"
)

// silentFor is the time after which a device counts as silent.
const silentFor = 10 * time.Minute

// openAlerts counts open alerts for the list of devices.
func openAlerts(control *sqldb.DB) rollup.OpenAlerts {
	return func(ctx context.Context, fleet string, devices []string) (map[string]int, error) {
		return alert.CountOpenOf(ctx, control, fleet, devices)
	}
}

// overviewOf returns the overview of a log other than telemetry: its equation, last proof, consumer groups and
// stores.
func (in *input) overviewOf(k kept, proofs *reconcile.Proofs) (*overview.Sampler, error) {
	s := overview.Sources{Log: in.conf.log, Events: k.log, Proofs: proofs, Raw: k.events, DeadLetter: k.letters,
		Places: []overview.Place{{Name: "raw", URL: k.raw}, {Name: "dead_letters", URL: k.deadLetters}}}
	sampler, err := overview.NewSampler(s)
	if err != nil {
		return nil, err
	}
	in.release = append(in.release, sampler.Close)
	return sampler, nil
}

// overview returns the overview of telemetry. Parts whose sources are not configured (the log, the raw or the
// dead-letter store) are reported as unknown.
func (in *input) overview(ctx context.Context, control, rollups *sqldb.DB, directory *rollup.Directory,
	proofs *reconcile.Proofs) (*overview.Sampler, error) {
	processes, err := status.Open(ctx, control)
	if err != nil {
		return nil, err
	}
	s := overview.Sources{Log: in.conf.log, Proofs: proofs, Status: processes,
		Alerts: func(ctx context.Context, fleet string) (overview.Alerts, error) {
			n, err := alert.CountOpen(ctx, control, fleet)
			return overview.Alerts{Open: n}, err
		},
		Devices: func(ctx context.Context, fleet string) (overview.Devices, error) {
			list, _, err := directory.Devices(ctx, fleet)
			silent, _ := slices.BinarySearchFunc(list, time.Now().Add(-silentFor).Unix(),
				func(s rollup.Seen, at int64) int { return cmp.Compare(s.At, at) })
			return overview.Devices{Known: len(list), Silent: silent, SilentFor: silentFor.Seconds()}, err
		},
		Places: []overview.Place{
			{Name: "control", URL: in.conf.control, Ask: control.PingContext},
			{Name: "rollups", URL: in.conf.rollups, Ask: rollups.PingContext},
		}}
	for _, place := range []struct {
		name, url string
		to        **lake.Store
	}{{"raw", in.conf.raw, &s.Raw}, {"dead_letters", in.conf.deadLetters, &s.DeadLetter}} {
		store, err := in.openLake(ctx, place.url)
		if err != nil {
			return nil, err
		}
		if store == nil {
			continue
		}
		*place.to = store
		s.Places = append(s.Places, overview.Place{Name: place.name, URL: place.url})
	}
	sampler, err := overview.NewSampler(s)
	if err != nil {
		return nil, err
	}
	in.release = append(in.release, sampler.Close)
	return sampler, nil
}
