// Package lake keeps Parquet objects in date folders of a blob store: a local directory, S3 or
// memory, by its URL. It knows how objects are named, which records of the log each one covers,
// and how to write one so that it appears as a whole or not at all.
package lake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"sync"

	"weir/internal/platform/calls"
	"weir/internal/platform/conf"
)

// ErrNotFound says that an object does not exist, or not any more.
var ErrNotFound = errors.New("object not found")

// ErrExists says that an object exists that was to be created.
var ErrExists = errors.New("object exists")

// Blob is an object in a listing.
type Blob struct {
	Key  string
	Size int64
}

// Reader reads parts of one object. It is safe for concurrent use.
type Reader interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// backend is a kind of blob store. Keys are separated by slashes. It is safe for concurrent use.
type backend interface {
	// put writes an object, which appears as a whole once write has returned nil, and replaces one
	// of the same key. When put returns nil the object is durable. After an error it does not
	// exist, unless the store could not tell whether it was written.
	put(ctx context.Context, key string, write func(io.Writer) error) error
	// putNew is put for an object that must not exist; it returns ErrExists if it does. That may
	// be this very object, if a response of the store was lost.
	putNew(ctx context.Context, key string, body []byte) error
	// list calls each for every object below prefix, in the order of keys.
	list(ctx context.Context, prefix string, each func(Blob) error) error
	// folders returns the names of the folders directly below prefix, sorted.
	folders(ctx context.Context, prefix string) ([]string, error)
	open(ctx context.Context, key string, size int64) (Reader, error)
	remove(ctx context.Context, key string) error
	// below returns the store for what is in a folder, with the same connections.
	below(folder string) backend
	close() error
}

// Store is an open blob store. It is safe for concurrent use.
type Store struct {
	backend
	name   string
	spared spared

	mu    sync.Mutex
	views map[string]*Store // by folder
}

// Open opens a store by URL:
//
//	file:///abs/dir          a directory, made when missing; file://dir is below the working directory
//	s3://bucket/prefix?…     S3; docs/raw-store.md has the options
//	mem://                   memory, for tests: each Open is a store of its own
//
// Opening talks to no server, and so needs no time: an outage shows on first use.
func Open(_ context.Context, rawURL string) (*Store, error) {
	return openStore(rawURL, openFile, nil)
}

// CheckURL returns what is wrong with the URL of a store, without accessing the store.
func CheckURL(rawURL string) error {
	s, err := openStore(rawURL, fileAt, nil)
	if err != nil {
		return err
	}
	return s.Close()
}

// OpenReading is Open for reading only: it creates no directory, and needs no permission to write.
// A directory that does not exist is an empty store.
func OpenReading(_ context.Context, rawURL string) (*Store, error) {
	return openStore(rawURL, fileAt, nil)
}

// URL reads the URL of a store from a config, with conf.Read, and rejects one that CheckURL
// rejects.
func URL(to *string) any {
	return conf.Valid(conf.URL(to, schemes()...), func() error { return CheckURL(*to) })
}

// MaybeURL is URL for a store that may be left out.
func MaybeURL(to *string) any {
	return conf.Valid(conf.MaybeURL(to, schemes()...), func() error {
		if *to == "" {
			return nil
		}
		return CheckURL(*to)
	})
}

func schemes() []string { return []string{"file", "s3", "mem"} }

// openStore opens a store. of returns the meter of calls to a server; nil measures none.
func openStore(rawURL string, file func(string) (*fileStore, error), of func() *calls.Meter) (*Store, error) {
	if strings.HasPrefix(rawURL, "file://") {
		f, err := file(rawURL)
		if err != nil {
			return nil, fmt.Errorf("opening store %s: %w", rawURL, err)
		}
		return &Store{name: rawURL, backend: f}, nil
	}
	u, err := url.Parse(rawURL)
	if err != nil { // err quotes parts of the URL, which may be a part of a secret key
		return nil, errors.New("parsing the store URL: expected s3://BUCKET/PREFIX?region=…, file:///DIR or mem://, " +
			"and keys of S3 in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or in a profile")
	}
	s := &Store{name: u.Scheme + "://" + u.Host + u.Path}
	switch u.Scheme {
	case "s3":
		var meter *calls.Meter
		if of != nil {
			meter = of()
		}
		s.backend, err = openS3(u, meter)
	case "mem":
		s.backend = newMem()
	default:
		err = fmt.Errorf("unknown scheme %q: expected file, s3 or mem", u.Scheme)
	}
	if err != nil {
		return nil, fmt.Errorf("opening store %s: %w", s.name, err)
	}
	return s, nil
}

// Below returns the store in a folder of this one, for another table. It is closed with this one
// and must not be closed by itself.
func (s *Store) Below(folder string) *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	view := s.views[folder]
	if view == nil {
		view = &Store{name: strings.TrimSuffix(s.name, "/") + "/" + folder, backend: s.below(folder)}
		if s.views == nil {
			s.views = map[string]*Store{}
		}
		s.views[folder] = view
	}
	return view
}

// Name returns the URL of the store without its query.
func (s *Store) Name() string { return s.name }

// put writes an object. When it returns nil the object is durable and whole. After an error it
// does not exist, or exists as a whole if the store could not tell: look before writing the same
// rows again.
func (s *Store) put(ctx context.Context, key string, write func(io.Writer) error) error {
	if err := s.backend.put(ctx, key, write); err != nil {
		return fmt.Errorf("writing %s to %s: %w", key, s.name, err)
	}
	return nil
}

// Write writes an object under a key that is not by NewName, as put does. It replaces the previous
// one when it is complete. write is called once.
func (s *Store) Write(ctx context.Context, key string, write func(io.Writer) error) error {
	return s.put(ctx, key, write)
}

// PutBytes writes an object as put does.
func (s *Store) PutBytes(ctx context.Context, key string, body []byte) error {
	return s.put(ctx, key, func(w io.Writer) error {
		_, err := w.Write(body)
		return err
	})
}

// PutNew is PutBytes for an object that must not exist: of several writers one succeeds, and the
// others get ErrExists. The one that succeeded may get it too, if the response of the store was
// lost; to find out, read the object.
func (s *Store) PutNew(ctx context.Context, key string, body []byte) error {
	if err := s.putNew(ctx, key, body); err != nil {
		return fmt.Errorf("writing %s to %s: %w", key, s.name, err)
	}
	return nil
}

// Open opens an object for reading. Whether it exists may be noticed by a read only, which returns
// ErrNotFound then.
func (s *Store) Open(ctx context.Context, b Blob) (Reader, error) {
	r, err := s.open(ctx, b.Key, b.Size)
	if err != nil {
		return nil, fmt.Errorf("opening %s of %s: %w", b.Key, s.name, err)
	}
	return r, nil
}

// Remove deletes objects. It is not an error if one does not exist. On an error some may be
// deleted.
func (s *Store) Remove(ctx context.Context, keys ...string) error {
	for _, key := range keys {
		if err := s.remove(ctx, key); err != nil && !errors.Is(err, ErrNotFound) {
			return fmt.Errorf("deleting %s of %s: %w", key, s.name, err)
		}
	}
	return nil
}

// Close releases the store's connections.
func (s *Store) Close() error { return s.close() }

// List calls each for every object below the folder prefix, in the order of keys.
func (s *Store) List(ctx context.Context, prefix string, each func(Blob) error) error {
	if err := s.list(ctx, prefix, each); err != nil {
		return fmt.Errorf("listing %s of %s: %w", prefix, s.name, err)
	}
	return nil
}

// Folders returns the names of the folders directly below prefix; "" is the root.
func (s *Store) Folders(ctx context.Context, prefix string) ([]string, error) {
	names, err := s.folders(ctx, prefix)
	if err != nil {
		return nil, fmt.Errorf("listing the folders of %s%s: %w", s.name, prefix, err)
	}
	return names, nil
}

func withSlash(prefix string) string {
	if prefix == "" || strings.HasSuffix(prefix, "/") {
		return prefix
	}
	return prefix + "/"
}
