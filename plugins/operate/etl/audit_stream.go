package etl

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"weir/plugins/store/lake"
)

// auditStream compares the counts of a stream with its log, and its position with that of each
// sink. Of a folder of objects it reads every object that a manifest names.
func (p *Pipeline) auditStream(ctx context.Context, r *Report, find func(string, ...any)) error {
	log, is := p.source.(logSource)
	if !is || !p.stream {
		find("the run was of a stream, and the pipeline is none any more")
		return nil
	}
	in, err := log.dial(ctx)
	if err != nil {
		return err
	}
	defer in.close()
	if in.id() != r.Stream.To.Log {
		find("%s was made anew since: what was read of it is gone", in.describe())
		return nil
	}
	switch n, known, err := in.countBetween(ctx, r.Stream.From, r.Stream.To); {
	case Final(err):
		find("%v", err)
	case err != nil:
		return err
	case known && n != r.Counts.Read:
		find("the topic has %d records there now, and %d were read", n, r.Counts.Read)
	}
	for _, t := range p.targets() {
		err := p.auditStreamSink(ctx, t, r, find)
		if Final(err) {
			find("%s: %v", t.object, err)
		} else if err != nil {
			return fmt.Errorf("asking sink %s: %w", t, err)
		}
	}
	return nil
}

func (p *Pipeline) auditStreamSink(ctx context.Context, t target, r *Report, find func(string, ...any)) (err error) {
	sink, err := p.streamInto(ctx, t, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sink.close()) }()
	if o, is := sink.(*objectStream); is {
		if err := o.recount(ctx, find); err != nil {
			return err
		}
	}
	is, err := sink.at(ctx, r.Stream.To.Log)
	if err != nil {
		return err
	}
	if is == nil || !is.reached(r.Stream.To) {
		find("%s is at %s, and the stream came to %s", t.object, is, r.Stream.To)
	}
	return nil
}

// recount compares each object of the folder with its manifest, and reports the differences to
// find.
func (o *objectStream) recount(ctx context.Context, find func(string, ...any)) error {
	f := o.folder()
	l, err := f.list(ctx)
	if err != nil {
		return err
	}
	has, err := f.has(ctx, l, 0)
	if err != nil {
		return err // a missing manifest is a final error, which the caller reports as a finding
	}
	rows := int64(0)
	for _, file := range has.files {
		rows += file.Rows
		blob, is := l.files[file.Name]
		if !is {
			find("%s/%s is gone", f.name, file.Name)
			continue
		}
		if sum, err := sumOf(ctx, o.store, blob); err != nil {
			return err
		} else if sum != file.SHA256 {
			find("%s holds other bytes than the stream wrote", blob.Key)
		}
	}
	if rows != has.rows {
		find("%s: its files have %d rows, and the batches had %d", f.name, rows, has.rows)
	}
	return nil
}

func sumOf(ctx context.Context, store *lake.Store, b lake.Blob) (string, error) {
	r, err := store.Open(ctx, b)
	if err != nil {
		return "", err
	}
	defer r.Close() // it was only read
	sum := sha256.New()
	_, err = io.Copy(sum, bufio.NewReaderSize(io.NewSectionReader(r, 0, r.Size()), 1<<20))
	return hex.EncodeToString(sum.Sum(nil)), err
}
