package simulate

import (
	"math"
	"slices"
	"time"
)

// workerPlan is what one connection sends, and when.
type workerPlan struct {
	index, of int       // number of this connection, and of how many
	devices   int       // number of simulated devices: index, index+of, index+2*of, …
	readings  []planned // of its series, in order of time
	share     float64   // fraction of its events that are readings
	rate      float64   // events a second; 0: as fast as answers arrive
	events    int64     // -1: until the time is over
}

// planned is one reading of a series and its device.
type planned struct {
	Reading
	device string
}

// plan distributes devices and series over connections, and the rate and number of events in proportion.
func plan(conf Config) []workerPlan {
	n := min(conf.Connections, conf.Devices+len(conf.Series))
	plans := make([]workerPlan, n)
	seriesRate := make([]float64, n) // readings a second, if a speed is set
	members := make([]int, n)        // number of devices, simulated or real
	var allReadings, allSeriesRate float64
	for i := range plans {
		p := &plans[i]
		p.index, p.of, p.events = i, n, -1
		p.devices = (conf.Devices - i + n - 1) / n
		members[i] = p.devices
		for j := i; j < len(conf.Series); j += n {
			members[i]++
			s := conf.Series[j]
			for _, r := range s.Readings {
				p.readings = append(p.readings, planned{r, s.Device})
			}
			if conf.SeriesSpeed > 0 {
				seriesRate[i] += s.rate(conf.SeriesSpeed)
			}
		}
		slices.SortStableFunc(p.readings, func(a, b planned) int { return a.At.Compare(b.At) })
		allReadings += float64(len(p.readings))
		allSeriesRate += seriesRate[i]
	}

	total := math.Inf(1) // events of the run, if known in advance
	switch {
	case conf.Events > 0:
		total = float64(conf.Events)
	case conf.Rate > 0 && conf.Duration > 0:
		total = conf.Rate * conf.Duration.Seconds()
	}
	if conf.Devices == 0 {
		total = min(total, allReadings)
	}
	var dealt float64
	for i := range plans {
		p := &plans[i]
		devices, readings := fraction(p.devices, conf.Devices), float64(len(p.readings))
		var part float64 // fraction of the run's events
		switch {
		case conf.Devices == 0:
			p.share, part = 1, readings/allReadings
			p.rate = conf.Rate * part
			if conf.SeriesSpeed > 0 {
				p.rate = seriesRate[i]
			}
		case conf.SeriesSpeed > 0:
			p.rate = max(conf.Rate-allSeriesRate, 0)*devices + seriesRate[i]
			p.share, part = seriesRate[i]/p.rate, p.rate/max(conf.Rate, allSeriesRate)
		case !math.IsInf(total, 1):
			scale := min(1, total/max(allReadings, 1)) // a run too short for all readings sends the first
			events := (total-allReadings*scale)*devices + readings*scale
			part = events / total
			p.share, p.rate = readings*scale/max(events, 1), conf.Rate*part
		default:
			part = fraction(members[i], conf.Devices+len(conf.Series))
			p.rate = conf.Rate * part
			if readings > 0 {
				p.share = 0.5
			}
		}
		if !math.IsInf(total, 1) && (conf.Events > 0 || conf.Devices == 0) {
			before := math.Round(dealt)
			dealt += total * part
			p.events = int64(math.Round(dealt) - before)
		}
	}
	return plans
}

func fraction(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

// due returns when request number n of the connection is to be sent. Connections are offset from each other, so that
// the fleet does not send in waves.
func (p workerPlan) due(start time.Time, batch int, n int64) time.Time {
	if p.rate == 0 {
		return start
	}
	period := float64(batch) / p.rate
	seconds := (float64(n) + float64(p.index)/float64(p.of)) * period
	return start.Add(time.Duration(seconds * float64(time.Second)))
}

// isReading tells whether event number k of the connection is one of a series.
func (p workerPlan) isReading(k int64) bool {
	return p.share > 0 && math.Floor(float64(k+1)*p.share) > math.Floor(float64(k)*p.share)
}
