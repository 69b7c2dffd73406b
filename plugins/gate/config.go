package gate

import (
	"fmt"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// fields reads fields one after the other and keeps the first error.
type fields struct {
	conf *service.ParsedConfig
	err  error
}

func (f *fields) text(path ...string) string {
	v, err := f.conf.FieldString(path...)
	f.keep(err)
	return v
}

func (f *fields) duration(path ...string) time.Duration {
	v, err := f.conf.FieldDuration(path...)
	if err == nil && v <= 0 {
		err = fmt.Errorf("%v must be longer than zero", path)
	}
	f.keep(err)
	return v
}

func (f *fields) positive(path ...string) int {
	v, err := f.conf.FieldInt(path...)
	if err == nil && v <= 0 {
		err = fmt.Errorf("%v must be at least 1", path)
	}
	f.keep(err)
	return v
}

func (f *fields) keep(err error) {
	if f.err == nil {
		f.err = err
	}
}

func configFromParsed(conf *service.ParsedConfig) (config, error) {
	f := fields{conf: conf}
	c := config{
		address:    f.text(gateFieldAddress),
		keys:       f.text(gateFieldKeys),
		keyRefresh: f.duration(gateFieldKeyRefresh),
		limits: limits{
			body:      f.positive(gateFieldLimits, gateFieldMaxBody),
			batch:     f.positive(gateFieldLimits, gateFieldMaxBatch),
			event:     f.positive(gateFieldLimits, gateFieldMaxEvent),
			inFlight:  f.positive(gateFieldLimits, gateFieldMaxInFlight),
			inFlightB: f.positive(gateFieldLimits, gateFieldMaxInFlightB),
			header:    f.positive(gateFieldLimits, gateFieldMaxHeader),
		},
		timeouts: timeouts{
			header: f.duration(gateFieldTimeouts, gateFieldTimeoutHeader),
			read:   f.duration(gateFieldTimeouts, gateFieldTimeoutRead),
			ack:    f.duration(gateFieldTimeouts, gateFieldTimeoutAck),
			idle:   f.duration(gateFieldTimeouts, gateFieldTimeoutIdle),
		},
	}
	return c, f.err
}
