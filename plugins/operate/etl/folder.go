package etl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/plugins/store/lake"
)

// batchFolder is a folder to which a stream writes batches as objects. Its manifests say which
// files count: there is one for each batch, and one for each compaction, which names all files up
// to a batch. The folder consists of what the newest compaction names and of the batches after it;
// other objects in it do not count.
type batchFolder struct {
	store    folderStore
	name     string
	format   string
	pipeline string
}

// folderStore is the part of *lake.Store that is used here; tests have others.
type folderStore interface {
	List(ctx context.Context, prefix string, each func(lake.Blob) error) error
	Open(ctx context.Context, b lake.Blob) (lake.Reader, error)
	Write(ctx context.Context, key string, write func(io.Writer) error) error
	PutNew(ctx context.Context, key string, body []byte) error
	Remove(ctx context.Context, keys ...string) error
}

// manifest names the files of a batch and the position in the log after it.
type manifest struct {
	Pipeline string         `json:"pipeline"`
	ID       string         `json:"id"` // of the attempt that came into force
	Number   int64          `json:"number"`
	To       marks          `json:"to"`
	Files    []manifestFile `json:"files"`
}

// compactedManifest names all files of the folder up to a batch. It replaces the manifests up to
// there.
type compactedManifest struct {
	Pipeline   string         `json:"pipeline"`
	ID         string         `json:"id"`         // of the attempt that came into force
	Compaction int64          `json:"compaction"` // its number
	Number     int64          `json:"number"`     // of the last batch that it includes
	At         time.Time      `json:"at"`
	Rows       int64          `json:"rows"` // of all files
	Files      []manifestFile `json:"files"`
}

type manifestFile struct {
	Name   string `json:"name"` // below the folder
	Rows   int64  `json:"rows"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

const (
	manifestFolder = "_manifest"
	mostManifest   = 64 << 20

	compactedPrefix = "compacted-"
	compactedWithin = "-compacted-" // part of the name of a file that a compaction has made
)

func (f *batchFolder) batchKey(number int64) string {
	return fmt.Sprintf("%s/%s/%020d.json", f.name, manifestFolder, number)
}

func (f *batchFolder) compactedKey(number int64) string {
	return fmt.Sprintf("%s/%s/%s%012d.json", f.name, manifestFolder, compactedPrefix, number)
}

// numberOf returns the number in the name of a file or of a batch's manifest.
func numberOf(name string) (int64, bool) {
	digits, _, _ := strings.Cut(strings.TrimSuffix(name, path.Ext(name)), "-")
	n, err := strconv.ParseInt(digits, 10, 64)
	return n, err == nil && n > 0
}

// compactionOf returns the number of the compaction that made a file; 0: a batch made it.
func compactionOf(name string) int64 {
	_, rest, is := strings.Cut(name, compactedWithin)
	if !is {
		return 0
	}
	digits, _, _ := strings.Cut(rest, "-")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// listed is the contents of a folder.
type listed struct {
	files     map[string]lake.Blob // by their names below it
	batches   map[int64]lake.Blob
	compacted map[int64]lake.Blob
	last      int64 // number of the last batch
	newest    int64 // number of the newest compaction; 0: there is none
}

func (f *batchFolder) list(ctx context.Context) (*listed, error) {
	l := &listed{files: map[string]lake.Blob{}, batches: map[int64]lake.Blob{}, compacted: map[int64]lake.Blob{}}
	return l, f.store.List(ctx, f.name, func(b lake.Blob) error {
		name := path.Base(b.Key)
		switch path.Dir(b.Key) {
		case f.name:
			l.files[name] = b
		case f.name + "/" + manifestFolder:
			if n, is := numberOf(name); is {
				l.batches[n], l.last = b, max(l.last, n)
			} else if n, is := numberOf(strings.TrimPrefix(name, compactedPrefix)); is {
				l.compacted[n], l.newest = b, max(l.newest, n)
			}
		}
		return nil
	})
}

func (f *batchFolder) readManifest(ctx context.Context, b lake.Blob, number int64) (m manifest, err error) {
	if err := f.decode(ctx, b, &m); err != nil {
		return m, err
	}
	if m.Number != number {
		return m, dataError{fmt.Errorf("%s is no manifest of a stream", b.Key)}
	}
	return m, f.mine(m.Pipeline)
}

func (f *batchFolder) readCompacted(ctx context.Context, b lake.Blob, number int64) (m compactedManifest, err error) {
	if err := f.decode(ctx, b, &m); err != nil {
		return m, err
	}
	if m.Compaction != number || m.Number < 1 {
		return m, dataError{fmt.Errorf("%s is no manifest of a compaction", b.Key)}
	}
	return m, f.mine(m.Pipeline)
}

// mine returns an error if the folder belongs to another pipeline; an f.pipeline of "" accepts any.
func (f *batchFolder) mine(pipeline string) error {
	if pipeline != f.pipeline && f.pipeline != "" {
		return dataError{fmt.Errorf("pipeline %s streams into %s: name another folder", pipeline, f.name)}
	}
	return nil
}

func (f *batchFolder) decode(ctx context.Context, b lake.Blob, into any) error {
	raw, err := f.read(ctx, b, mostManifest)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return dataError{fmt.Errorf("%s is no manifest of a stream", b.Key)}
	}
	return nil
}

func (f *batchFolder) read(ctx context.Context, b lake.Blob, most int64) ([]byte, error) {
	r, err := f.store.Open(ctx, b)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.NewSectionReader(r, 0, min(r.Size(), most)))
	return raw, errors.Join(err, r.Close())
}

// inForce lists the files that the folder consists of, in the order of the rows.
type inForce struct {
	before compactedManifest // the newest compaction; number 0: there is none
	number int64             // of the last batch that is included
	files  []manifestFile
	rows   int64
}

// has reads which files the folder consists of: those of the newest compaction, and of at most most
// batches after it; 0: of all.
func (f *batchFolder) has(ctx context.Context, l *listed, most int64) (*inForce, error) {
	c := &inForce{}
	if l.newest > 0 {
		var err error
		if c.before, err = f.readCompacted(ctx, l.compacted[l.newest], l.newest); err != nil {
			return nil, err
		}
	}
	c.number, c.files, c.rows = c.before.Number, slices.Clone(c.before.Files), c.before.Rows
	for ; c.number < l.last && (most == 0 || c.number < c.before.Number+most); c.number++ {
		b, is := l.batches[c.number+1]
		if !is {
			return nil, dataError{fmt.Errorf("%s: manifest %d is missing", f.name, c.number+1)}
		}
		m, err := f.readManifest(ctx, b, c.number+1)
		if err != nil {
			return nil, err
		}
		for _, file := range m.Files {
			c.files, c.rows = append(c.files, file), c.rows+file.Rows
		}
	}
	return c, nil
}
