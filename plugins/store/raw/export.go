package raw

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
)

// Export is a query whose events are written to a stream, in the form of GET /v1/events
// but without pages.
type Export struct {
	Query
	Fields string // comma-separated; "" is the usual ones
	Format string // "ndjson" or "csv"
	Limit  int    // 0 is all
}

// exportBuffer is how many bytes are collected before they are written.
const exportBuffer = 64 << 10

// Export writes the events of the query to w. After an error, w may have received some of
// them.
func (r *Reader) Export(ctx context.Context, e Export, w io.Writer) (Stats, error) {
	p := page{request: &request{query: e.Query}}
	v := url.Values{"fields": {e.Fields}, "format": {e.Format}}
	if e.Format != "ndjson" && e.Format != "csv" {
		return Stats{}, fmt.Errorf("unknown format %q: expected ndjson or csv", e.Format)
	}
	if bad := p.setFormat(v, ""); bad != nil {
		return Stats{}, errors.New(bad.Detail)
	}
	if bad := p.setFields(v); bad != nil {
		return Stats{}, errors.New(bad.Detail)
	}
	if p.format == formatCSV {
		var err error
		if p.body, err = p.head(nil); err != nil {
			return Stats{}, err
		}
	}
	flush := func(least int) error {
		if len(p.body) <= least {
			return nil
		}
		_, err := w.Write(p.body)
		p.body = p.body[:0]
		return err
	}
	stats, err := r.beside(ctx, p.request, func(row *Row) (err error) {
		if e.Limit > 0 && p.count == e.Limit {
			return errStop
		}
		p.count++
		if p.body, err = p.write(p.body, row, false); err != nil {
			return err
		}
		return flush(exportBuffer)
	})
	return stats, errors.Join(err, flush(0))
}
