// Package plugins is the list of weir's rooms. Each room is a folder with one subject; README.md in this folder
// describes them.
package plugins

import (
	"fmt"

	"github.com/redpanda-data/benthos/v4/public/service"

	// Upstream components, each for the configs that use it. What an import costs
	// to compile is in docs/build.md; more of upstream's: extended.go.
	_ "github.com/redpanda-data/benthos/v4/public/components/pure/extended" // zstd of compress and decompress
	_ "github.com/redpanda-data/connect/v4/public/components/io"            // http_client, file: notify
	// kafka_franz output: log_output, dead_letters; redpanda input: streams of your own
	_ "github.com/redpanda-data/connect/v4/public/components/kafka"
	_ "github.com/redpanda-data/connect/v4/public/components/prometheus" // metrics
	_ "github.com/redpanda-data/connect/v4/public/components/pure"       // fallback, switch, mapping, …

	"weir/internal/control/apikey"
	"weir/internal/control/auditlog"
	blocks "weir/internal/control/block"
	consents "weir/internal/control/consent"
	"weir/internal/control/etlrun"
	"weir/internal/control/group"
	"weir/internal/control/hold"
	identities "weir/internal/control/identity"
	"weir/internal/lifecycle"
	"weir/plugins/ingest/consent"
	"weir/plugins/ingest/eventlog"
	"weir/plugins/ingest/gate"
	"weir/plugins/ingest/identity"
	"weir/plugins/ingest/privacy"
	"weir/plugins/ingest/validate"
	"weir/plugins/notify/alert"
	"weir/plugins/notify/channel"
	"weir/plugins/notify/watch"
	"weir/plugins/operate/block"
	"weir/plugins/operate/erasure"
	"weir/plugins/operate/quality"
	"weir/plugins/operate/reconcile"
	"weir/plugins/operate/replay"
	"weir/plugins/operate/retention"
	"weir/plugins/operate/spillway"
	"weir/plugins/operate/tracing"
	"weir/plugins/process/anomaly"
	"weir/plugins/process/consumer"
	"weir/plugins/process/dedupe"
	"weir/plugins/process/enrich"
	"weir/plugins/process/rule"
	"weir/plugins/serve/api"
	"weir/plugins/store/deadletter"
	"weir/plugins/store/raw"
	"weir/plugins/store/rollup"
)

// room is one line of the list.
type room struct {
	name     string
	register func(*service.Environment) error
}

// rooms are all that have components.
func rooms() []room {
	return []room{
		{"alert", alert.Register},
		{"anomaly", anomaly.Register},
		{"api", api.Register},
		{"block", block.Register},
		{"channel", channel.Register},
		{"consent", consent.Register},
		{"consumer", consumer.Register},
		{"deadletter", deadletter.Register},
		{"dedupe", dedupe.Register},
		{"enrich", enrich.Register},
		{"erasure", func(env *service.Environment) error { return erasure.Register(env, stores()) }},
		{"eventlog", eventlog.Register},
		{"gate", gate.Register},
		{"identity", identity.Register},
		{"privacy", privacy.Register},
		{"quality", quality.Register},
		{"raw", raw.Register},
		{"reconcile", reconcile.Register},
		{"replay", replay.Register},
		{"retention", func(env *service.Environment) error { return retention.Register(env, stores()) }},
		{"rollup", rollup.Register},
		{"rule", rule.Register},
		{"spillway", spillway.Register},
		{"tracing", tracing.Register},
		{"validate", validate.Register},
		{"watch", watch.Register},
	}
}

// stores are all that keep rows of a fleet, in the order in which they are
// erased: rollups first, since what is found of a device in memory elsewhere is
// looked up there; the audit log last.
func stores() lifecycle.List {
	return lifecycle.List{
		rollup.Lifecycle(),
		alert.Lifecycle(),
		anomaly.Lifecycle(),
		rule.Lifecycle(),
		rule.SketchLifecycle(),
		group.Lifecycle(),
		blocks.Lifecycle(),
		consents.Lifecycle(),
		identities.Lifecycle(),
		replay.Lifecycle(),
		raw.LaterLifecycle(),
		raw.Lifecycle(),
		deadletter.Lifecycle(),
		deadletter.OutcomeLifecycle(),
		hold.Lifecycle(),
		etlrun.Lifecycle(),
		retention.Lifecycle(),
		quality.Lifecycle(),
		erasure.Lifecycle(),
		apikey.Lifecycle(),
		auditlog.Lifecycle(),
	}
}

// Stores are all that keep rows of a fleet.
func Stores() lifecycle.List { return stores() }

// Register adds every room's components to the environment.
func Register(env *service.Environment) error { return register(env, rooms()) }

func register(env *service.Environment, rooms []room) error {
	for _, room := range rooms {
		if err := room.register(env); err != nil {
			return fmt.Errorf("room %s: %w", room.name, err)
		}
	}
	return nil
}
