package raw

import (
	"fmt"

	"github.com/parquet-go/parquet-go"

	"weir/internal/event"
	"weir/internal/platform/rawjson"
	"weir/plugins/store/lake"
)

// textOf returns a text that shares the value's memory.
func textOf(v parquet.Value) string { return rawjson.Alias(v.ByteArray()) }

func payload(v parquet.Value) []byte {
	if v.IsNull() {
		return nil
	}
	return v.ByteArray()
}

// decodeRows fills rows from the chunk that in.Next has just read, column by column.
func decodeRows(in *lake.Rows, rows []Row) error {
	for col := range columnCount {
		if col == colMetric || col == colValue {
			continue
		}
		for i, v := range in.Column(col) {
			if err := rows[i].set(col, v); err != nil {
				return err
			}
		}
	}
	names, values := 0, 0
	for i := range rows {
		names += len(in.Repeated(colMetric, i))
	}
	metrics := make([]event.Metric, 0, names)
	for i := range rows {
		r := &rows[i]
		start := len(metrics)
		keys, numbers := in.Repeated(colMetric, i), in.Repeated(colValue, i)
		if len(keys) != len(numbers) {
			return fmt.Errorf("row %d has %d metrics and %d values", i, len(keys), len(numbers))
		}
		for j, key := range keys {
			if key.DefinitionLevel() > 0 {
				metrics = append(metrics, event.Metric{Name: textOf(key), Value: numbers[j].Double()})
				values++
			}
		}
		r.Metrics = metrics[start:len(metrics):len(metrics)]
		r.finish()
	}
	return nil
}

// set stores the value of one flat column. Rows start as zero values, and null leaves
// the field as it is.
func (r *Row) set(col int, v parquet.Value) (err error) {
	if v.IsNull() {
		return nil
	}
	switch col {
	case colID:
		copy(r.ID[:], v.ByteArray())
	case colFleet:
		r.Fleet = textOf(v)
	case colDevice:
		r.Device = textOf(v)
	case colFirmware:
		r.Firmware = textOf(v)
	case colTime:
		r.Time = v.Int64()
		r.At = r.Time
	case colTimeText:
		r.TimeText = textOf(v)
	case colEffectiveTime:
		r.At = v.Int64()
	case colReceivedAt:
		r.ReceivedAt = v.Int64()
	case colSchema:
		r.Schema = textOf(v)
	case colFlags:
		r.Flags = textOf(v)
	case colDiagnostics:
		r.Diagnostics = payload(v)
	case colExtra:
		r.Extra = payload(v)
	case colAsSent:
		r.AsSent = payload(v)
	case colUnknown:
		r.Unknown = textOf(v)
	case colEnrichFailed:
		r.EnrichFailed = textOf(v)
	case colEnriched:
		r.Enriched = textOf(v)
	case colTopic:
		r.Record.Topic = textOf(v)
	case colPartition:
		r.Record.Partition = v.Int32()
	case colOffset:
		r.Record.Offset = v.Int64()
	case colDelivery:
		r.Delivery, err = event.ParseCoordinates(textOf(v))
	}
	return err
}

// finish fills in what null columns stand for.
func (r *Row) finish() {
	if r.Record.Topic == "" {
		r.Record = noRecord
	}
	if r.Delivery.Topic == "" {
		r.Delivery = r.Record
	}
}
