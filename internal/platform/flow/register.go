package flow

import (
	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/conf"
	"weir/internal/platform/meter"
)

// Store is an output that writes batches to a store.
type Store struct {
	Name     string // component name
	Spec     *service.ConfigSpec
	Batching string // name of its batch policy field
	Is, Up   string // name in messages, and its gauge: see Hold
	Failures string // name of the counter of failures
	New      func(*service.ParsedConfig, *service.Resources) (service.BatchOutput, error)
}

// Register adds the output to env, wrapped in Hold.
func (s Store) Register(env *service.Environment) error {
	return env.RegisterBatchOutput(s.Name, s.Spec,
		func(parsed *service.ParsedConfig, res *service.Resources) (service.BatchOutput, service.BatchPolicy, int, error) {
			var policy service.BatchPolicy
			var inFlight int
			err := conf.Read(parsed, s.Batching, &policy, "max_in_flight", conf.Positive(&inFlight))
			if err != nil {
				return nil, policy, 0, err
			}
			out, err := s.New(parsed, res)
			if err != nil {
				return nil, policy, 0, err
			}
			return Hold(out, s.Is, s.Up, meter.Counter(res.Metrics(), s.Failures), res), policy, inFlight, nil
		})
}
