package etl

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
)

// part is a small file, read whole.
type part struct {
	file manifestFile
	head string // equal for files with the same columns
	body []byte // what follows the head, in csv and ndjson

	parquet *parquet.File
	avro    *avroFile
}

func newPart(format string, file manifestFile, raw []byte) (*part, error) {
	p := &part{file: file, body: raw}
	var err error
	switch format {
	case "csv":
		n := csvHeader(raw)
		p.head, p.body = string(raw[:n]), raw[n:]
	case "parquet":
		if p.parquet, err = parquet.OpenFile(bytes.NewReader(raw), int64(len(raw))); err != nil {
			return nil, fmt.Errorf("it is no whole file of Parquet: %w", err)
		}
		schema, err := json.Marshal(p.parquet.Metadata().Schema)
		if err != nil {
			return nil, err
		}
		p.head = string(schema)
	case avroFormat:
		if p.avro, err = openAvro(bytes.NewReader(raw)); err != nil {
			return nil, err
		}
		p.head = string(p.avro.raw)
	}
	return p, nil
}

// csvHeader returns the length of the first record. Its quoted names may contain line breaks.
func csvHeader(raw []byte) int {
	quoted := false
	for i, b := range raw {
		switch {
		case b == '"':
			quoted = !quoted
		case b == '\n' && !quoted:
			return i + 1
		}
	}
	return len(raw)
}

// joiner copies files with the same columns into one, in their order, without converting values.
type joiner interface {
	add(*part) error
	// end finishes the file and returns how many rows were written; -1: they were not counted.
	end() (int64, error)
}

func newJoiner(format string, first *part, w io.Writer) (joiner, error) {
	switch format {
	case "parquet":
		return &parquetJoiner{w: newParquetWriter(w, first.parquet.Schema())}, nil
	case avroFormat:
		e, err := newAvroWriter(nil, first.avro.raw, w)
		return &avroJoiner{e: e}, err
	}
	_, err := io.WriteString(w, first.head)
	return textJoiner{w}, err
}

type textJoiner struct{ w io.Writer }

func (j textJoiner) add(p *part) error {
	_, err := j.w.Write(p.body)
	if n := len(p.body); err == nil && n > 0 && p.body[n-1] != '\n' {
		_, err = io.WriteString(j.w, "\n")
	}
	return err
}

func (j textJoiner) end() (int64, error) { return -1, nil }

type parquetJoiner struct {
	w     *parquet.GenericWriter[any]
	rows  int64
	group int64 // rows in the one that is open
}

func (j *parquetJoiner) add(p *part) error {
	buf := make([]parquet.Row, writeRows)
	for _, g := range p.parquet.RowGroups() {
		rows := g.Rows()
		for {
			n, err := rows.ReadRows(buf)
			if n > 0 {
				if _, err := j.w.WriteRows(buf[:n]); err != nil {
					return errors.Join(err, rows.Close())
				}
				j.rows, j.group = j.rows+int64(n), j.group+int64(n)
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return errors.Join(err, rows.Close())
			}
			if j.group >= rowGroup {
				j.group = 0
				if err := j.w.Flush(); err != nil {
					return errors.Join(err, rows.Close())
				}
			}
		}
		if err := rows.Close(); err != nil {
			return err
		}
	}
	return nil
}

func (j *parquetJoiner) end() (int64, error) { return j.rows, j.w.Close() }

type avroJoiner struct {
	e    *avroEncoder
	rows int64
}

func (j *avroJoiner) add(p *part) error {
	for {
		err := p.avro.nextBlock()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		j.e.buf, j.e.rows, j.rows = append(j.e.buf, p.avro.block...), j.e.rows+p.avro.left, j.rows+p.avro.left
		if len(j.e.buf) >= avroBlock {
			if err := j.e.flush(); err != nil {
				return err
			}
		}
	}
}

func (j *avroJoiner) end() (int64, error) { return j.rows, j.e.end() }
