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

	"weir/plugins/ingest/eventlog"
	"weir/plugins/ingest/gate"
	"weir/plugins/ingest/validate"
	"weir/plugins/notify/alert"
	"weir/plugins/notify/channel"
	"weir/plugins/notify/watch"
	"weir/plugins/operate/erasure"
	"weir/plugins/operate/reconcile"
	"weir/plugins/operate/replay"
	"weir/plugins/operate/retention"
	"weir/plugins/operate/spillway"
	"weir/plugins/process/anomaly"
	"weir/plugins/process/dedupe"
	"weir/plugins/serve/api"
	"weir/plugins/store/deadletter"
	"weir/plugins/store/raw"
	"weir/plugins/store/rollup"
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
		{"channel", channel.Register},
		{"audit", reconcile.Register},
		{"deadletter", deadletter.Register},
		{"dedupe", dedupe.Register},
		{"erasure", func(env *service.Environment) error { return erasure.Register(env, erasureSources()) }},
		{"eventlog", eventlog.Register},
		{"gate", gate.Register},
		{"maintain", func(env *service.Environment) error { return retention.Register(env, maintainStores()) }},
		{"raw", raw.Register},
		{"replay", func(env *service.Environment) error { return replay.Register(env, replaySources()) }},
		{"rollup", rollup.Register},
		{"spillway", spillway.Register},
		{"validate", validate.Register},
		{"watch", watch.Register},
	} {
		if err := room.register(env); err != nil {
			return fmt.Errorf("room %s: %w", room.name, err)
		}
	}
	return nil
}
