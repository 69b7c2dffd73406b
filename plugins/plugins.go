// Package plugins is the list of weir's rooms. Each room is a folder with one
// subject; README.md beside this file is their map.
package plugins

import (
	"fmt"

	"github.com/redpanda-data/benthos/v4/public/service"

	// Upstream components, each for the configs that use it.
	_ "github.com/redpanda-data/connect/v4/public/components/io"            // http_client, file: notify
	_ "github.com/redpanda-data/connect/v4/public/components/kafka"         // redpanda input, kafka_franz output: every stream
	_ "github.com/redpanda-data/connect/v4/public/components/prometheus"    // metrics
	_ "github.com/redpanda-data/connect/v4/public/components/pure"          // fallback, switch, mapping, …
	_ "github.com/redpanda-data/connect/v4/public/components/pure/extended" // Bloblang methods

	"weir/plugins/alert"
	"weir/plugins/anomaly"
	"weir/plugins/api"
	"weir/plugins/audit"
	"weir/plugins/deadletter"
	"weir/plugins/dedupe"
	"weir/plugins/erasure"
	"weir/plugins/eventlog"
	"weir/plugins/gate"
	"weir/plugins/maintain"
	"weir/plugins/raw"
	"weir/plugins/replay"
	"weir/plugins/rollup"
	"weir/plugins/schema"
	"weir/plugins/spillway"
)

// Register adds every room's components to the environment.
func Register(env *service.Environment) error {
	for _, room := range []struct {
		name     string
		register func(*service.Environment) error
	}{
		{"alert", alert.Register},
		{"anomaly", anomaly.Register},
		{"api", api.Register},
		{"audit", audit.Register},
		{"deadletter", deadletter.Register},
		{"dedupe", dedupe.Register},
		{"erasure", func(env *service.Environment) error { return erasure.Register(env, erasureSources()) }},
		{"eventlog", eventlog.Register},
		{"gate", gate.Register},
		{"maintain", func(env *service.Environment) error { return maintain.Register(env, maintainStores()) }},
		{"raw", raw.Register},
		{"replay", func(env *service.Environment) error { return replay.Register(env, replaySources()) }},
		{"rollup", rollup.Register},
		{"schema", schema.Register},
		{"spillway", spillway.Register},
	} {
		if err := room.register(env); err != nil {
			return fmt.Errorf("room %s: %w", room.name, err)
		}
	}
	return nil
}
