package etl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"weir/plugins/store/lake"
)

const avroFormat = "avro"

// avroSource is an Avro file in a store, or all those of a folder, in the order of their names.
type avroSource struct {
	p      *Pipeline
	in     target
	folder bool
}

func (p *Pipeline) readAvroSource(r *reader) source {
	s := avroSource{p: p, in: target{format: avroFormat, url: r.text("url", true), object: r.text("object", false)}}
	if folder := r.text("folder", false); r.members["folder"] != nil {
		s.in.object, s.folder = folder, true
	}
	if (r.members["object"] == nil) == (r.members["folder"] == nil) && r.members != nil {
		r.wrong(r.n, `expected either "object" or "folder"`)
	}
	p.checkPlace(r, s.in, map[bool]string{true: "folder", false: "object"}[s.folder],
		"an object, such as 2026/orders.avro, or of a folder of them")
	return s
}

func (s avroSource) describe() string {
	if s.folder {
		return "files of Avro in " + s.in.object
	}
	return "file of Avro " + s.in.object
}

// avroReading reads one file after the other. Its position is a file's key and the number of values
// read from it.
type avroReading struct {
	avroSource
	store *lake.Store
	files []avroPart
	cols  []column

	at     int // index of the file that is read
	taken  int64
	opened io.Closer // the file that is read; nil: none
	file   *avroFile
}

type avroPart struct {
	lake.Blob
	marker [avroMarker]byte
	order  []int // for each column: its index in the file
}

type avroPosition struct {
	Object string `json:"object"`
	Taken  int64  `json:"taken"`
}

func (s avroSource) open(ctx context.Context) (reading, error) {
	store, err := lake.OpenReading(ctx, s.p.storeURL(s.in.url))
	if err != nil {
		return nil, err
	}
	r := &avroReading{avroSource: s, store: store}
	if err := r.find(ctx); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

// find lists the files, and checks that they have the same columns.
func (r *avroReading) find(ctx context.Context) error {
	folder := strings.TrimSuffix(r.in.object, "/")
	if !r.folder {
		if folder = path.Dir(r.in.object); folder == "." {
			folder = ""
		}
	}
	streamed := false
	if err := r.store.List(ctx, folder, func(b lake.Blob) error {
		if r.folder && strings.HasSuffix(b.Key, ".avro") || !r.folder && b.Key == r.in.object {
			r.files = append(r.files, avroPart{Blob: b})
		}
		streamed = streamed || r.folder && path.Dir(b.Key) == folder+"/"+manifestFolder
		return nil
	}); err != nil {
		return err
	}
	slices.SortFunc(r.files, func(a, b avroPart) int { return strings.Compare(a.Key, b.Key) })
	if streamed {
		if err := r.findStreamed(ctx); err != nil {
			return err
		}
	}
	if len(r.files) == 0 {
		return dataError{fmt.Errorf("reading %s: there is no such file", r.describe())}
	}
	for i := range r.files {
		file, err := r.begin(ctx, i)
		if err != nil {
			return err
		}
		if i == 0 {
			r.cols = file.cols
		}
		r.files[i].marker = file.marker
		if r.files[i].order, err = arrange(r.cols, file.cols); err == nil && len(r.cols) != len(file.cols) {
			err = errors.New("it has columns that the first file has not")
		}
		if err != nil {
			return dataError{fmt.Errorf("reading %s: %w", r.files[i].Key, err)}
		}
	}
	return r.end()
}

// findStreamed lists the files of a folder that a stream writes to, as its manifests say.
func (r *avroReading) findStreamed(ctx context.Context) error {
	f := &batchFolder{store: r.store, name: r.in.object}
	l, err := f.list(ctx)
	if err != nil {
		return err
	}
	has, err := f.has(ctx, l, 0)
	if err != nil {
		return err
	}
	r.files = nil
	for _, file := range has.files {
		b, is := l.files[file.Name]
		if !is {
			return dataError{fmt.Errorf("reading %s: %s is gone", r.describe(), file.Name)}
		}
		r.files = append(r.files, avroPart{Blob: b})
	}
	return nil
}

// begin closes the file that is open, and opens file i.
func (r *avroReading) begin(ctx context.Context, i int) (*avroFile, error) {
	if err := r.end(); err != nil {
		return nil, err
	}
	object, err := r.store.Open(ctx, r.files[i].Blob)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", r.files[i].Key, err)
	}
	r.opened = object
	if r.file, err = openAvro(io.NewSectionReader(object, 0, object.Size())); err != nil {
		return nil, fmt.Errorf("reading %s: %w", r.files[i].Key, err)
	}
	r.at, r.taken = i, 0
	return r.file, nil
}

func (r *avroReading) end() (err error) {
	if r.opened != nil {
		err = r.opened.Close()
	}
	r.opened, r.file = nil, nil
	return err
}

func (r *avroReading) columns() []column { return r.cols }

// identity names the files with their sizes and markers; a file that was replaced has another
// marker.
func (r *avroReading) identity() string {
	all := make([]string, len(r.files))
	for i, f := range r.files {
		all[i] = fmt.Sprintf("%s %d %x", f.Key, f.Size, f.marker)
	}
	return strings.Join(all, "; ")
}

func (r *avroReading) from(ctx context.Context, position string) error {
	at := avroPosition{Object: r.files[0].Key}
	if position != "" {
		if err := json.Unmarshal([]byte(position), &at); err != nil {
			return fmt.Errorf("reading where the last run ended: %w", err)
		}
	}
	i := slices.IndexFunc(r.files, func(f avroPart) bool { return f.Key == at.Object })
	if i < 0 {
		return dataError{fmt.Errorf("reading %s: it is gone", at.Object)}
	}
	return r.goTo(ctx, i, at.Taken)
}

func (r *avroReading) goTo(ctx context.Context, i int, taken int64) error {
	file, err := r.begin(ctx, i)
	if err != nil {
		return err
	}
	left, err := file.skip(taken)
	for ; err == nil && left > 0; left-- {
		_, err = file.next()
		if errors.As(err, new(*rowError)) {
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", r.files[i].Key, err)
	}
	r.taken = taken
	return nil
}

func (r *avroReading) next() (row, string, error) {
	for {
		got, err := r.file.next()
		var one *rowError
		switch {
		case errors.Is(err, io.EOF) && r.at+1 == len(r.files):
			return nil, r.position(), io.EOF
		case errors.Is(err, io.EOF):
			if _, err := r.begin(context.Background(), r.at+1); err != nil {
				return nil, "", err
			}
			continue
		case errors.As(err, &one):
			r.taken++
			return nil, r.position(), err
		case err != nil:
			return nil, "", fmt.Errorf("reading %s: %w", r.files[r.at].Key, err)
		}
		r.taken++
		out := make(row, len(r.cols))
		for i, at := range r.files[r.at].order {
			out[i] = got[at]
		}
		return out, r.position(), nil
	}
}

func (r *avroReading) position() string {
	raw, _ := json.Marshal(avroPosition{r.files[r.at].Key, r.taken}) // cannot fail: a text and a number
	return string(raw)
}

func (r *avroReading) count(ctx context.Context) (n int64, err error) {
	if err := r.goTo(ctx, 0, 0); err != nil {
		return 0, err
	}
	for ; ; n++ {
		_, _, err := r.next()
		switch {
		case errors.Is(err, io.EOF):
			return n, nil
		case err != nil && !errors.As(err, new(*rowError)):
			return 0, err
		}
	}
}

func (r *avroReading) close() {
	_ = r.end() // it was only read
	_ = r.store.Close()
}
