package rollup

import (
	"fmt"

	"github.com/parquet-go/parquet-go"

	"weir/internal/platform/sketch"
	"weir/plugins/store/lake"
)

// coldLayout declares the columns of old minutes in Parquet: one row for each metric of a
// window, as in the view rollup_1m; FORMAT.md documents them. A window without a metric is
// one row with a null metric. Columns may be added at the end. Renaming one, or changing its
// meaning, needs a new version of the table.
type coldLayout struct {
	Fleet      string  `parquet:"fleet,dict"`
	Device     string  `parquet:"device_id,dict"`
	Bucket     int64   `parquet:"bucket,timestamp(microsecond),delta"`
	Metric     string  `parquet:"metric,optional,dict"`
	Count      int64   `parquet:"count,dict"`
	Sum        float64 `parquet:"sum"`
	Min        float64 `parquet:"min"`
	Max        float64 `parquet:"max"`
	Last       float64 `parquet:"last"`
	LastAt     int64   `parquet:"last_at,timestamp(microsecond),delta"`
	P50        float64 `parquet:"p50"`
	P95        float64 `parquet:"p95"`
	Squares    float64 `parquet:"squares"`
	SumLow     float64 `parquet:"sum_low"`
	SquaresLow float64 `parquet:"squares_low"`
	Sketch     []byte  `parquet:"sketch"`
	Version    int64   `parquet:"version,delta"`
}

// The leaf columns, by position.
const (
	coldFleet = iota
	coldDevice
	coldBucket
	coldMetric
	coldCount
	coldSum
	coldMin
	coldMax
	coldLast
	coldLastAt
	coldP50
	coldP95
	coldSquares
	coldSumLow
	coldSquaresLow
	coldSketch
	coldVersion
	coldColumns
)

// coldTable is the layout of the objects of old minutes. Their rows stand for no records of
// the log.
func coldTable() *lake.Table {
	return &lake.Table{
		Name:   "rollup_1m/1",
		Schema: parquet.NewSchema("rollup_1m", parquet.SchemaOf(new(coldLayout))),
		Sorting: []parquet.SortingColumn{
			parquet.Ascending("fleet"), parquet.Ascending("device_id"), parquet.Ascending("bucket"), parquet.Ascending("metric"),
		},
		FleetColumn: coldFleet, DeviceColumn: coldDevice,
	}
}

// coldLine is one row of an object: a metric of a window.
type coldLine struct {
	row    *windowRow
	metric *metricRow // nil: the window has none
	sketch []byte
}

// coldLines returns the rows of windows that are sorted by key.
func coldLines(rows []*windowRow) (lines []coldLine) {
	for _, r := range rows {
		if len(r.Metrics) == 0 {
			lines = append(lines, coldLine{row: r})
		}
		for _, m := range r.Metrics {
			lines = append(lines, coldLine{row: r, metric: m, sketch: m.Sketch.Append(nil)})
		}
	}
	return lines
}

func (l coldLine) value(dst []parquet.Value, column int) []parquet.Value {
	m := l.metric
	if m == nil {
		m = new(metricRow)
	}
	number := func(v float64) []parquet.Value { return lake.Required(dst, parquet.DoubleValue(v)) }
	switch column {
	case coldFleet:
		return lake.RequiredText(dst, l.row.Fleet)
	case coldDevice:
		return lake.RequiredText(dst, l.row.Device)
	case coldBucket:
		return lake.Required(dst, parquet.Int64Value(l.row.Bucket*1e6))
	case coldMetric:
		return lake.Optional(dst, parquet.ByteArrayValue(lake.Bytes(m.Name)), l.metric != nil, column)
	case coldCount:
		return lake.Required(dst, parquet.Int64Value(m.Count))
	case coldSum:
		return number(m.Sum.Hi)
	case coldMin:
		return number(m.Min)
	case coldMax:
		return number(m.Max)
	case coldLast:
		return number(m.Last)
	case coldLastAt:
		return lake.Required(dst, parquet.Int64Value(m.LastAt))
	case coldSketch:
		return lake.Required(dst, parquet.ByteArrayValue(l.sketch))
	case coldVersion:
		return lake.Required(dst, parquet.Int64Value(l.row.Version))
	case coldSquares:
		return number(m.Squares.Hi)
	case coldSumLow:
		return number(m.Sum.Lo)
	case coldSquaresLow:
		return number(m.Squares.Lo)
	}
	if l.metric == nil {
		return number(0)
	}
	if column == coldP50 {
		return number(m.quantile(0.50))
	}
	return number(m.quantile(0.95))
}

// coldBatch is a chunk of decoded rows of an object, column by column.
type coldBatch struct{ columns [][]parquet.Value }

func (b coldBatch) at(column, i int) parquet.Value { return b.columns[column][i] }

func (b coldBatch) float(column, i int) float64 { return b.at(column, i).Double() }

func (b coldBatch) key(i int) Key {
	return Key{string(b.at(coldFleet, i).ByteArray()), string(b.at(coldDevice, i).ByteArray()),
		b.at(coldBucket, i).Int64() / 1e6}
}

// metric decodes one metric; it returns nil for a window without metrics.
func (b coldBatch) metric(i int) (*metricRow, error) {
	name := b.at(coldMetric, i)
	if name.IsNull() {
		return nil, nil
	}
	m := &metricRow{
		Name: string(name.ByteArray()), Count: b.at(coldCount, i).Int64(),
		Sum:     sketch.Exact{Hi: b.float(coldSum, i), Lo: b.float(coldSumLow, i)},
		Squares: sketch.Exact{Hi: b.float(coldSquares, i), Lo: b.float(coldSquaresLow, i)},
		Min:     b.float(coldMin, i), Max: b.float(coldMax, i),
		Last: b.float(coldLast, i), LastAt: b.at(coldLastAt, i).Int64(),
	}
	bins, rest, ok := sketch.Decode(b.at(coldSketch, i).ByteArray())
	if m.Sketch = bins; !ok || len(rest) > 0 || bins.Count() != uint64(m.Count) {
		return nil, fmt.Errorf("reading metric %s of an old window: %w", m.Name, errCorrupt)
	}
	return m, nil
}
