package etl

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
)

// In the CSV that is read and written here, an empty field is null without quotes, and the empty
// text with them. encoding/csv cannot tell the two apart.

func trimmed(line []byte) []byte { return bytes.TrimRight(line, "\r\n") }

func fromBase64(text string) (string, error) {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return "", errors.New("it is no base64")
	}
	return string(raw), nil
}

var errQuotes = errors.New("its quotes are not closed, or stand within a field")

// record reads one record, whose quoted fields may contain line breaks.
func (f *fileReading) record() ([]cell, error) {
	raw, err := f.line()
	if err != nil {
		return nil, err
	}
	for bytes.Count(raw, []byte(`"`))%2 == 1 {
		more, err := f.line()
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if err != nil || len(raw)+len(more) > mostRecord {
			return nil, dataError{fmt.Errorf("reading %s: a quoted field does not end", f.shown)}
		}
		raw = append(raw, more...)
	}
	raw = trimmed(raw)
	cells, err := splitCSV(string(raw))
	if err != nil {
		return nil, &rowError{err.Error(), raw}
	}
	return cells, nil
}

func splitCSV(line string) (cells []cell, err error) {
	for {
		if !strings.HasPrefix(line, `"`) {
			field, rest, more := strings.Cut(line, ",")
			if strings.Contains(field, `"`) {
				return nil, errQuotes
			}
			cells = append(cells, cell{field, field == ""})
			if !more {
				return cells, nil
			}
			line = rest
			continue
		}
		var field strings.Builder
		line = line[1:]
		for {
			part, rest, closed := strings.Cut(line, `"`)
			if !closed {
				return nil, errQuotes
			}
			field.WriteString(part)
			line = rest
			if !strings.HasPrefix(line, `"`) {
				break
			}
			field.WriteByte('"')
			line = line[1:]
		}
		cells = append(cells, cell{text: field.String()})
		switch {
		case line == "":
			return cells, nil
		case line[0] != ',':
			return nil, errQuotes
		}
		line = line[1:]
	}
}

func (f *fileReading) csvRow() (row, error) {
	fields, err := f.record()
	if err != nil {
		return nil, err
	}
	bad := func(err error) error { return &rowError{err.Error(), appendCSV(nil, fields)} }
	if len(fields) != len(f.order) {
		return nil, bad(fmt.Errorf("the record has %d fields, and the header %d", len(fields), len(f.order)))
	}
	r := make(row, len(f.order))
	for i, given := range fields {
		at := f.order[i]
		c := f.fileSource.columns[at]
		if r[at] = given; given.null {
			continue
		}
		if c.of.kind == kindBytes {
			r[at].text, err = fromBase64(given.text)
		} else {
			r[at].text, err = c.of.canonical(given.text)
		}
		if err != nil {
			return nil, bad(fmt.Errorf("column %q: %w", c.name, err))
		}
	}
	return r, nil
}

// appendCSV appends a record. Null is an empty field, the empty text is "".
func appendCSV(b []byte, cells []cell) []byte {
	for i, c := range cells {
		if i > 0 {
			b = append(b, ',')
		}
		switch {
		case c.null:
		case c.text == "" || strings.ContainsAny(c.text, "\",\r\n") || c.text[0] == ' ' || c.text[len(c.text)-1] == ' ':
			b = append(b, '"')
			b = append(b, strings.ReplaceAll(c.text, `"`, `""`)...)
			b = append(b, '"')
		default:
			b = append(b, c.text...)
		}
	}
	return append(b, '\n')
}
