package validate

import (
	"context"
	"fmt"
	"strings"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/platform/conf"
	"weir/internal/platform/text"
	"weir/plugins/ingest/registry"
)

const supportFieldVersions = "versions"

func supportSpec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Version("1.0.0").
		Categories("Utility").
		Summary("Declares which schema versions a stream can read, and fails events of others.").
		Description(`
Put it first in a stream of your own that reads events and knows only some versions of their schema. An event whose `+"`weir_schema`"+` is not declared fails with code `+"`processing_failed`"+` and a message that names both, so that it can be sent to the dead letters and be driven through again once the stream has learned the version. Nothing is dropped or reordered.

Tell the registry too, with `+"`PUT /registry/consumers/NAME`"+`, and `+"`weir schema check`"+` names who is not ready for a new version.

### Metrics

`+"`weir_schema_unsupported_total{schema}`.").
		Field(service.NewStringListField(supportFieldVersions).
			Description("The versions that can be read: `telemetry/2`, `telemetry/1-3`, `telemetry/2-` (and all later ones) "+
				"or `telemetry/*`.").
			Example([]string{"telemetry/1-3"})).
		Example("A stream that knows three versions", "Events of later versions are kept apart.", `
pipeline:
  processors:
    - label: known_versions
      schema_support:
        versions: [telemetry/1-3]

output:
  fallback:
    - reject_errored:
        stdout: {}
    - drop: {}
`)
}

// support is the processor schema_support.
type support struct {
	declared    []registry.Support
	text        string
	unsupported *service.MetricCounter
}

func newSupport(parsed *service.ParsedConfig, res *service.Resources) (service.Processor, error) {
	var texts []string
	if err := conf.Read(parsed, supportFieldVersions, &texts); err != nil {
		return nil, err
	}
	declared, err := registry.ParseSupports(texts)
	if err != nil {
		return nil, fmt.Errorf("reading schema_support: %w", err)
	}
	if err := conf.Checked(parsed, nil); err != nil {
		return nil, err
	}
	return &support{declared: declared, text: strings.Join(texts, ", "),
		unsupported: res.Metrics().NewCounter("weir_schema_unsupported_total", "schema")}, nil
}

func (s *support) Process(_ context.Context, msg *service.Message) (service.MessageBatch, error) {
	name := event.Meta(msg, event.HeaderSchema)
	if msg.GetError() == nil && !registry.Supported(s.declared, name) {
		if name == "" {
			event.MarkRejected(msg, event.Reject(event.CodeProcessingFailed, "",
				"the event names no schema, and this stream reads "+s.text))
		} else {
			event.MarkRejected(msg, event.Reject(event.CodeProcessingFailed, "",
				fmt.Sprintf("the event is of schema %s, and this stream reads %s", text.Shorten(name), s.text)))
		}
		s.unsupported.Incr(1, name)
	}
	return service.MessageBatch{msg}, nil
}

func (s *support) Close(context.Context) error { return nil }

var _ service.Processor = (*support)(nil)
