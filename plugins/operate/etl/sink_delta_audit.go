package etl

import (
	"context"
	"errors"
	"fmt"
	"io"

	"weir/plugins/store/lake"
)

// recountDelta counts the files that a run added to a table, if they are still part of it. If
// others have removed any since, or the table is merged into, it returns the numbers in the log.
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
	if mode == modeMerge { // its files have rows of others, too
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
			if c.of.kind == kindDecimal && !one[i].null { // the table may have more digits
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
