package etl

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path"
	"path/filepath"
	"strings"

	"github.com/parquet-go/parquet-go"

	"weir/internal/platform/storeurl"
	"weir/plugins/store/lake"
)

// Audit counts a run again from the stores themselves and compares the result with its report. Each
// finding is one difference; an error means that a store could not be read.
func (p *Pipeline) Audit(ctx context.Context, r *Report) (findings []string, err error) {
	find := func(format string, args ...any) { findings = append(findings, fmt.Sprintf(format, args...)) }
	if r.Hash != p.hash() {
		find("the pipeline has changed since the run")
	}
	c := r.Counts
	if n := c.unexplained(); n != 0 {
		find("the report accounts for %d of %d rows", c.Read+c.Made-n, c.Read+c.Made)
	}
	if r.Stream != nil {
		err := p.auditStream(ctx, r, find)
		return findings, err
	}
	in, err := p.source.open(ctx)
	if err != nil {
		return nil, err
	}
	defer in.close()
	count := in.count
	if log, is := in.(logReading); is { // the log may have grown since the run
		count = func(ctx context.Context) (int64, error) { return log.countTo(ctx, r.Position) }
	}
	switch n, err := count(ctx); {
	case err != nil:
		return nil, err
	case n != c.Read:
		find("the source has %d rows now, and %d were read", n, c.Read)
	}
	for _, s := range r.Sinks {
		want := c.Written
		if s.Rejects {
			want = c.Rejected
		}
		rows, sum, err := p.recount(ctx, r, s)
		switch {
		case errors.Is(err, lake.ErrNotFound):
			find("%s is gone", s.Object)
		case errors.Is(err, errNoLoad):
			find("%s: %v", s.Object, err)
		case err != nil:
			return nil, fmt.Errorf("counting %s: %w", s.Object, err)
		case sum != s.SHA256:
			find("%s holds other %s than the run wrote", s.Object, map[bool]string{true: "rows",
				false: "bytes"}[isTable(s.Format) || s.Format == deltaFormat])
		case rows != want:
			find("%s has %d rows, and %d were to be there", s.Object, rows, want)
		}
	}
	return findings, nil
}

// recount reads an object, topic or table to its end and returns its rows and checksum.
func (p *Pipeline) recount(ctx context.Context, report *Report, s Sink) (rows int64, sum string, err error) {
	if isTable(s.Format) {
		for _, t := range p.sinks {
			if t.table != nil && t.url == s.URL && t.object == s.Object {
				return t.table.recount(ctx, report)
			}
		}
		return 0, "", dataError{errors.New("the pipeline has no such sink any more, and so not how to reach it")}
	}
	if s.Format == kafkaFormat {
		return p.recountTopic(ctx, report, s)
	}
	if s.Format == deltaFormat {
		return p.recountDelta(ctx, report, s)
	}
	store, err := lake.OpenReading(ctx, p.storeURL(s.URL))
	if err != nil {
		return 0, "", err
	}
	defer store.Close() // it was only read
	r, err := openObject(ctx, store, s.Object)
	if err != nil {
		return 0, "", err
	}
	defer r.Close()
	digest := sha256.New()
	in := bufio.NewReaderSize(io.TeeReader(io.NewSectionReader(r, 0, r.Size()), digest), 1<<20)
	switch s.Format {
	case avroFormat:
		if _, err := io.Copy(io.Discard, in); err != nil {
			return 0, "", err
		}
		rows, err = avroRows(r)
	case "parquet":
		if _, err := io.Copy(io.Discard, in); err != nil {
			return 0, "", err
		}
		rows, err = parquetRows(r)
	default:
		rows, err = records(in, s.Format)
	}
	return rows, hex.EncodeToString(digest.Sum(nil)), err
}

// openObject opens an object whose size is not known. It returns lake.ErrNotFound when there is
// none.
func openObject(ctx context.Context, store *lake.Store, key string) (lake.Reader, error) {
	found := lake.Blob{Size: -1}
	folder := path.Dir(key)
	if folder == "." {
		folder = ""
	}
	if err := store.List(ctx, folder, func(b lake.Blob) error {
		if b.Key == key {
			found = b
		}
		return nil
	}); err != nil {
		return nil, err
	}
	if found.Size < 0 {
		return nil, lake.ErrNotFound
	}
	return store.Open(ctx, found)
}

func parquetRows(r lake.Reader) (int64, error) {
	file, err := parquet.OpenFile(r, r.Size())
	if err != nil {
		return 0, err
	}
	return countRows(file)
}

// avroRows counts the values by reading each, also those that do not fit a column.
func avroRows(r lake.Reader) (n int64, err error) {
	file, err := openAvro(io.NewSectionReader(r, 0, r.Size()))
	for err == nil {
		if _, err = file.next(); err == nil || errors.As(err, new(*rowError)) {
			n, err = n+1, nil
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// countRows counts the values in the pages of each column: the numbers in the footer may be wrong.
func countRows(file *parquet.File) (all int64, err error) {
	for _, group := range file.RowGroups() {
		var rows int64 = -1
		for _, column := range group.ColumnChunks() {
			n, err := values(column.Pages())
			if err != nil {
				return 0, err
			}
			if rows >= 0 && rows != n {
				return 0, dataError{errors.New("its columns are not of one length")}
			}
			rows = n
		}
		all += max(rows, 0)
	}
	return all, nil
}

func values(pages parquet.Pages) (n int64, err error) {
	defer func() { err = errors.Join(err, pages.Close()) }()
	for {
		page, err := pages.ReadPage()
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return 0, err
		}
		n += page.NumRows()
		parquet.Release(page)
	}
}

// records counts the lines, or the records of CSV after the header.
func records(in *bufio.Reader, format string) (n int64, err error) {
	quoted := false
	for {
		part, err := in.ReadSlice('\n')
		if format == "csv" {
			for _, c := range part {
				quoted = quoted != (c == '"')
			}
		}
		if len(part) > 0 && part[len(part)-1] == '\n' && !quoted {
			n++
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			if format == "csv" {
				n--
			}
			return n, nil
		case err != nil:
			return 0, err
		}
	}
}

// storeURL resolves a relative file:// URL against the folder of the pipeline's file, so that it
// does not depend on where weir is started. Other URLs stay as they are.
func (p *Pipeline) storeURL(raw string) string {
	if dir, err := storeurl.Path(raw); err == nil && strings.HasPrefix(raw, "file://") && !filepath.IsAbs(dir) {
		return storeurl.New("file", filepath.Join(p.dir, dir))
	}
	return raw
}

// checkStore says what is wrong with the URL of a sink, without opening it.
func (p *Pipeline) checkStore(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Scheme != "file" && u.Scheme != "s3":
		return errors.New("expected a URL that begins with file:// or s3://")
	case u.User != nil:
		return errors.New("a secret is not written into a pipeline: S3's keys are those of the environment, or of a profile")
	}
	return lake.CheckURL(p.storeURL(raw))
}
