package rollup

import "github.com/redpanda-data/benthos/v4/public/service"

// Register adds the processor rollup and the output rollup_store.
func Register(env *service.Environment) error {
	if err := env.RegisterBatchProcessor("rollup", rollupSpec(), newProcessor); err != nil {
		return err
	}
	return env.RegisterBatchOutput("rollup_store", storeSpec(), newOutput)
}
