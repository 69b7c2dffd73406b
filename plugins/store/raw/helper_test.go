package raw

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
)

// connected returns a raw_store on a fresh directory, or on the URL given.
func connected(t testing.TB, url string, conf string) *output {
	t.Helper()
	env := service.NewEnvironment()
	parsed, err := storeSpec().ParseYAML(fmt.Sprintf("url: %s\n%s", url, conf), env)
	if err != nil {
		t.Fatal(err)
	}
	o, err := newOutput(parsed, service.MockResources())
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Connect(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Close(context.Background()) })
	return o
}

// record makes a message as the log delivers it.
func record(partition int, offset int64, body string, received time.Time) *service.Message {
	msg := service.NewMessage([]byte(body))
	msg.MetaSetMut("kafka_topic", "raw-events")
	msg.MetaSetMut("kafka_partition", partition)
	msg.MetaSetMut("kafka_offset", int(offset))
	msg.MetaSetMut(event.HeaderFleet, "acme")
	msg.MetaSetMut(event.HeaderReceivedAt, received.UTC().Format(event.TimeFormat))
	msg.MetaSetMut(event.HeaderSchema, "telemetry/2")
	return msg
}

func body(device string, n int, at time.Time) string {
	return fmt.Sprintf(`{"event_id":"%08x-0000-4000-8000-%012x","device_id":%q,"device_firmware_version":"2.1.0","timestamp":%q,"metrics":{"cpu_temp":%d.5,"battery_voltage":3.7,"vibration":0.12}}`,
		n, n, device, at.UTC().Format("2006-01-02T15:04:05.000Z"), n%90)
}

// sameJSON compares two documents by value: numbers as exact decimals.
func sameJSON(t testing.TB, a, b []byte) bool {
	t.Helper()
	return reflect.DeepEqual(decode(t, a), decode(t, b))
}

func decode(t testing.TB, raw []byte) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return rational(v)
}

func rational(v any) any {
	switch x := v.(type) {
	case json.Number:
		r, ok := new(big.Rat).SetString(x.String())
		if !ok {
			return x.String()
		}
		return r.RatString()
	case map[string]any:
		for k := range x {
			x[k] = rational(x[k])
		}
	case []any:
		for i := range x {
			x[i] = rational(x[i])
		}
	}
	return v
}
