package cli

import (
	"fmt"
	"os"
	"strings"

	"github.com/redpanda-data/benthos/v4/public/bloblang"
	"github.com/redpanda-data/benthos/v4/public/service"
	"gopkg.in/yaml.v3"

	"weir/internal/event"
)

// sampleEvent is an event of the shipped schemas, on which mappings are tried.
const sampleEvent = `{"event_id":"0197b2f4-5d0e-7c3a-9f1e-3b5a7c9d1e2f","device_id":"pump-1","device_firmware_version":"2.1.0",` +
	`"timestamp":"2026-11-21T09:15:00Z","metrics":{"cpu_temp":61.5,"battery_voltage":3.7,"vibration":0.2},"diagnostics":{"uptime":12}}`

// altering finds mappings between schema_validate and event_log that change the identity of the sample or make it no
// event, since event_log would refuse all their events. A mapping that fails on the sample or drops it is not
// reported.
func altering(path string) (found []finding) {
	raw, err := os.ReadFile(path)
	var config struct {
		Pipeline struct {
			Processors []yaml.Node `yaml:"processors"`
		} `yaml:"pipeline"`
		Output map[string]yaml.Node `yaml:"output"`
	}
	if err != nil || yaml.Unmarshal(raw, &config) != nil {
		return nil // reported by the linter
	}
	if _, ok := config.Output["event_log"]; !ok {
		return nil
	}
	judged := false
	for _, p := range config.Pipeline.Processors {
		if !judged {
			judged = fieldOf(&p, "schema_validate") != nil
			continue
		}
		for _, name := range []string{"mapping", "bloblang", "mutation"} {
			mapping := fieldOf(&p, name)
			if mapping == nil {
				continue
			}
			if why := alters(mapping.Value, name == "mutation"); why != nil {
				found = append(found, finding{path, mapping.Line, mapping.Column,
					fmt.Sprintf("the %s makes another event of what a device sent: %s", name, strings.TrimPrefix(why.Error(),
						string(why.Code)+": "))})
			}
		}
	}
	return found
}

func fieldOf(node *yaml.Node, name string) *yaml.Node {
	for i := 0; node.Kind == yaml.MappingNode && i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == name {
			return node.Content[i+1]
		}
	}
	return nil
}

// alters runs a mapping on the sample and returns what is wrong with the result, or nil.
func alters(mapping string, mutates bool) *event.Rejection {
	if strings.Contains(strings.ReplaceAll(mapping, "${!", ""), "${") {
		return nil // depends on the environment
	}
	exec, err := bloblang.Parse(mapping)
	if err != nil {
		return nil
	}
	sample := []byte(sampleEvent)
	msg := service.NewMessage(sample)
	event.KeepOriginal(msg, &sample)
	for key, value := range map[string]string{event.HeaderFleet: "plant-1",
		event.HeaderReceivedAt: "2026-11-21T09:15:01.000000Z",
		event.HeaderSchema:     "telemetry/2", event.MetaDevice: "pump-1"} {
		msg.MetaSetMut(key, value)
	}
	query := msg.BloblangQuery
	if mutates {
		query = msg.BloblangMutate
	}
	made, err := query(exec)
	if err != nil || made == nil {
		return nil
	}
	_, why := event.Altered(made)
	return why
}
