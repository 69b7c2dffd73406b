package validate

import (
	"errors"
	"fmt"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/platform/conf"
)

// ages is how far the timestamps of events may be from the time they were received; 0: any
// distance.
type ages struct {
	most     time.Duration
	ofFleets map[string]time.Duration
}

func agesOf(parsed *service.ParsedConfig) (*ages, error) {
	a := &ages{ofFleets: map[string]time.Duration{}}
	var all string
	var fleets map[string]string
	return a, conf.Read(parsed,
		schemaFieldMaxAge, conf.Valid(&all, func() (err error) { a.most, err = parseAge(all); return err }),
		schemaFieldFleetAge, conf.Valid(&fleets, func() error {
			var wrong []error
			for fleet, says := range fleets {
				age, err := parseAge(says)
				if a.ofFleets[fleet] = age; err != nil {
					wrong = append(wrong, fmt.Errorf("fleet %s: %w", fleet, err))
				}
			}
			return errors.Join(wrong...)
		}))
}

// parseAge reads a duration; an empty text is no bound.
func parseAge(says string) (time.Duration, error) {
	if says == "" {
		return 0, nil
	}
	age, err := time.ParseDuration(says)
	if err != nil || age <= 0 {
		return 0, fmt.Errorf("%q is no age: expected a duration such as 24h, or nothing for no bound", says)
	}
	return age, nil
}

// refuse returns why an event is stale, or nil. It compares with the time of receipt, so that the
// verdict does not depend on when it is given.
func (a *ages) refuse(fleet string, at, received time.Time) *event.Rejection {
	most := a.most
	if own, ok := a.ofFleets[fleet]; ok {
		most = own
	}
	if most == 0 {
		return nil
	}
	age, side := received.Sub(at), "older than"
	if age < 0 {
		age, side = -age, "ahead of"
	}
	if age <= most && age >= 0 { // the least of durations has no opposite
		return nil
	}
	return event.Reject(event.CodeStale, "/"+event.FieldTimestamp,
		fmt.Sprintf("is %s %s the time it was received: at most %s is taken", age.Round(time.Second), side, most))
}
