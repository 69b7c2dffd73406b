package rollup

import "github.com/redpanda-data/benthos/v4/public/service"

// Register adds the components of this room.
func Register(env *service.Environment) error {
	if err := env.RegisterBatchProcessor("rollup", rollupSpec(), newProcessor); err != nil {
		return err
	}
	return env.RegisterBatchOutput("rollup_store", storeSpec(), newOutput)
}
