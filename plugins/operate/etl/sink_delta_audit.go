package etl

import (
	"context"
	"errors"
	"fmt"
	"io"

	"weir/plugins/store/lake"
)

// recountDelta reads the files that a run brought to a table, as long as they are of
// it: of those that others have removed since, the log alone tells.
func (p *Pipeline) recountDelta(ctx context.Context, report *Report, s Sink) (rows int64, sum string, err error) {
	at, err := p.deltaAt(ctx, target{url: s.URL, object: s.Object}, lake.OpenReading)
	if err != nil {
		return 0, "", err
	}
	in, err := readDeltaTable(ctx, at)
	if err != nil {
		return 0, "", errors.Join(err, at.Store.Close())
	}
	defer in.close()
	note, added, err := at.Find(ctx, report.Run)
	if err != nil {
		return 0, "", err
	}
	if note == nil {
		return 0, "", errNoLoad
	}
	mode := ""
	for _, t := range p.sinks {
		if t.delta != nil && t.url == s.URL && t.object == s.Object {
			mode = t.delta.mode
		}
	}
	if mode == modeMerge { // rows of others are in its files
		return note.Rows, note.SHA256, nil
	}
	if mode != modeReplace {
		for _, f := range added {
			if _, is := in.snapshot.Files[f.Key()]; !is {
				return note.Rows, note.SHA256, nil
			}
		}
		in.files = added
	}
	columns, err := columnsOf(report.Columns)
	if err != nil {
		return 0, "", err
	}
	places := make([]int, len(columns))
	for i, c := range columns {
		if places[i] = indexOf(in.cols, c.name); places[i] < 0 {
			return 0, "", dataError{noColumn(in.cols, c.name)}
		}
	}
	var all rowSum
	var told []byte
	one := make(row, len(columns))
	for {
		r, _, err := in.next()
		if errors.Is(err, io.EOF) {
			return rows, all.hex(), nil
		}
		if err != nil {
			return 0, "", err
		}
		for i, c := range columns {
			one[i] = r[places[i]]
			if c.of.kind == kindDecimal && !one[i].null { // which the table may have with more digits
				if one[i].text, err = c.of.canonical(one[i].text); err != nil {
					return 0, "", dataError{fmt.Errorf("column %q: %w", c.name, err)}
				}
			}
		}
		told = appendRow(told[:0], one)
		all.add(told)
		rows++
	}
}
