//go:build extended

package plugins

// Upstream's larger processors and Bloblang methods, which no config of weir
// uses: protobuf, parquet_encode and parquet_decode, msgpack, xml, awk, and the
// methods on HTML, JSONPath and languages. `go build -tags extended` has them.
import _ "github.com/redpanda-data/connect/v4/public/components/pure/extended"
