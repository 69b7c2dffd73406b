package etl

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

const avroOrders = `{"type": "record", "name": "order", "namespace": "shop", "fields": [
	{"name": "a", "type": "long"}, {"name": "b", "type": ["null", "string"], "default": null},
	{"name": "d", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
	{"name": "day", "type": {"type": "int", "logicalType": "date"}},
	{"name": "at", "type": [{"type": "long", "logicalType": "timestamp-millis"}, "null"]},
	{"name": "local", "type": {"type": "long", "logicalType": "local-timestamp-micros"}},
	{"name": "mood", "type": {"type": "enum", "name": "mood", "symbols": ["sad", "ok"]}},
	{"name": "then", "type": "mood"}, {"name": "f", "type": "float"}, {"name": "raw", "type": {"type": "fixed", "name": "two",
	"size": 2}}, {"name": "ok", "type": "boolean"}, {"name": "u", "type": {"type": "string", "logicalType": "uuid"}}]}`

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	raw, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// Values are read exactly as the specification says they are written, byte by byte; one
// of another schema, cut short or too long is rejected with its place.
func TestAvro_ValuesAreExactOrRejected(t *testing.T) {
	l := newKafkaLog(t)
	uuid := "48" + hex.EncodeToString([]byte("0197B2F4-5d0e-7c3a-9f1e-3b5a7c9d1e2f"))
	good := "36 02 06666f6f 02 ff 03 00 f8abe3fac368 01 02 00 cdcccc3d 00ff 01" + uuid
	null := "01 00 06 3b9ac9 00 02 02 00 02 0000c07f ffff 00" + uuid
	for _, value := range []string{"00 00000007" + good, "00 00000007" + null, "00 00000008" + good, good,
		"00 00000007" + good[:20], "00 00000007" + good + "00", ""} {
		l.put(&kgo.Record{Partition: 0, Value: append([]byte{}, unhex(t, value)...)})
	}
	p := l.pipeline(`{"name": "orders", "source": {"type": "kafka", "brokers": ["` + l.broker + `"], "topic": "orders",
		"format": "avro", "schema_id": 7, "schema": ` + avroOrders + `, "metadata": {"offset": "o"}, "on_failure": "reject"},
		"sinks": [{"format": "ndjson", "url": "file://out", "object": "o.ndjson"}],
		"rejects": {"url": "file://out", "object": "r.ndjson"}}`)
	runs(t, p, options(t))
	got := contents(t, p)
	want := `{"a":27,"b":"foo","d":"-0.01","day":"1969-12-30","at":"2026-11-28T01:02:03.004Z",` +
		`"local":"1969-12-31T23:59:59.999999","mood":"ok","then":"sad","f":0.1,"raw":"AP8=","ok":true,` +
		`"u":"0197b2f4-5d0e-7c3a-9f1e-3b5a7c9d1e2f","o":0}
{"a":-1,"b":null,"d":"39062.49","day":"1970-01-01","at":null,"local":"1970-01-01T00:00:00.000001","mood":"sad",` +
		`"then":"ok","f":"NaN","raw":"//8=","ok":false,"u":"0197b2f4-5d0e-7c3a-9f1e-3b5a7c9d1e2f","o":1}
`
	if strings.ReplaceAll(got["o.ndjson"], "\n", "") != strings.ReplaceAll(want, "\n", "") {
		t.Errorf("%s\nwant\n%s", got["o.ndjson"], want)
	}
	for place, reason := range map[string]string{"orders/0/2": "it is of schema 8, and not of 7",
		"orders/0/3": "it does not begin with the id of a schema", "orders/0/4": "it is no value of the schema",
		"orders/0/5": "it is no value of the schema", "orders/0/6": "it does not begin"} {
		if !strings.Contains(got["r.ndjson"], `"place":"`+place+`","step":0,"reason":"`+reason) {
			t.Errorf("%s: %s is not in\n%s", place, reason, got["r.ndjson"])
		}
	}
}

func TestAvro_WhatIsNotExactIsRefusedByName(t *testing.T) {
	for of, says := range map[string]string{
		`{"type": "array", "items": "int"}`:                            `field 1 ("x"): there is no exact type for array`,
		`["int", "string"]`:                                            "a union is exact of null and one other",
		`{"type": "int", "logicalType": "time-millis"}`:                "there is no exact type for int time-millis",
		`{"type": "bytes", "logicalType": "decimal", "precision": 60}`: "a decimal has 1 to 38 digits",
		`"what"`: "there is no exact type for what",
	} {
		text := strings.Replace(streaming, `"columns": [{"name": "id", "type": "int64"}]`,
			`"format": "avro", "schema": {"type": "record", "name": "r", "fields": [{"name": "x", "type": `+of+`}]}`, 1)
		if _, err := loaded(t, map[string]string{"p.json": text}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %s", of, err, says)
		}
	}
}
