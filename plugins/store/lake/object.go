package lake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/parquet-go/parquet-go"
	"golang.org/x/sync/errgroup"
)

// Object is an object as it was listed.
type Object struct {
	Blob
	Name
}

// Footer is the content of an object's footer.
type Footer struct {
	Object
	Rows     int64
	Coverage Coverage
}

// Select says which objects to list.
type Select struct {
	From, To     time.Time // times of rows in [From, To); zero is no bound
	WrittenSince time.Time // zero is no bound
	Duplicates   bool      // also objects that have only coverage
}

// listers is how many folders are listed at a time.
const listers = 16

// Objects lists the selected objects, folder by folder, within a folder in the order of keys.
// Other files are ignored.
func (s *Store) Objects(ctx context.Context, sel Select) ([]Object, error) {
	objects, _, err := s.Choose(ctx, sel)
	return objects, err
}

// Choice counts what was excluded from a selection by names alone.
type Choice struct {
	Days    int64 // day folders that were not listed
	Objects int64 // objects in the folders that were listed
}

// Choose is Objects, and also returns what it has excluded.
func (s *Store) Choose(ctx context.Context, sel Select) (chosen []Object, passed Choice, err error) {
	folders, passedDays, err := s.dateFolders(ctx, sel)
	if err != nil {
		return nil, passed, err
	}
	found := make([][]Object, len(folders))
	listed := make([]int, len(folders))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(listers)
	for i, folder := range folders {
		g.Go(func() error {
			objects, err := s.Folder(ctx, folder)
			listed[i] = len(objects)
			found[i] = slices.DeleteFunc(objects, func(o Object) bool {
				return o.Written.Before(sel.WrittenSince) || !o.overlaps(sel.From, sel.To)
			})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, passed, err
	}
	passed.Days = passedDays
	for i := range found {
		passed.Objects += int64(listed[i] - len(found[i]))
	}
	return slices.Concat(found...), passed, nil
}

func (s *Store) dateFolders(ctx context.Context, sel Select) (out []string, passed int64, err error) {
	dates, err := s.dates(ctx, "")
	if err != nil {
		return nil, 0, err
	}
	for _, date := range dates {
		if sel.covers(date) {
			out = append(out, DateFolder(date))
		}
	}
	passed = int64(len(dates) - len(out))
	if !sel.Duplicates {
		return out, passed, nil
	}
	if dates, err = s.dates(ctx, DuplicatesFolder); err != nil {
		return nil, 0, err
	}
	for _, date := range dates { // these are named by the day on which they were written
		if !date.AddDate(0, 0, 1).Before(sel.WrittenSince) {
			out = append(out, path.Join(DuplicatesFolder, DateFolder(date)))
		}
	}
	return out, passed, nil
}

// covers reports whether a day's folder can have rows of the selection.
func (sel Select) covers(date time.Time) bool {
	return (sel.To.IsZero() || date.Before(sel.To)) &&
		(sel.From.IsZero() || date.AddDate(0, 0, 1).After(sel.From))
}

// dates returns the days that have a folder below root, in order.
func (s *Store) dates(ctx context.Context, root string) ([]time.Time, error) {
	names, err := s.Folders(ctx, root)
	if err != nil {
		return nil, err
	}
	var dates []time.Time
	for _, name := range names {
		if d, ok := (Name{Folder: name}).date(); ok {
			dates = append(dates, d)
		}
	}
	return dates, nil
}

// Folder lists the objects below a folder, in the order of keys.
func (s *Store) Folder(ctx context.Context, folder string) ([]Object, error) {
	var out []Object
	err := s.List(ctx, folder, func(b Blob) error {
		if name, ok := parseName(b.Key); ok {
			out = append(out, Object{b, name})
		}
		return nil
	})
	return out, err
}

// footerRead is how many bytes at the end of an object are read first. Most footers fit.
const footerRead = 32 << 10

// readFooter reads the footer of an object, usually with one request.
func (s *Store) readFooter(ctx context.Context, o Object) (Footer, error) {
	f := Footer{Object: o}
	r, err := s.Open(ctx, o.Blob)
	if err != nil {
		return f, err
	}
	defer r.Close()
	file, err := parquet.OpenFile(&tail{r: r, size: r.Size()}, r.Size(),
		parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true), parquet.SkipMagicBytes(true))
	if err != nil {
		return f, fmt.Errorf("reading the footer of %s: %w", o.Key, err)
	}
	f.Rows = file.NumRows()
	raw, ok := file.Lookup(metaCoverage)
	if !ok {
		return f, fmt.Errorf("reading the footer of %s: no coverage in it: not an object of weir's", o.Key)
	}
	if f.Coverage, err = decodeCoverage(raw); err != nil {
		return f, fmt.Errorf("reading the footer of %s: %w", o.Key, err)
	}
	return f, nil
}

// footerReaders is how many footers are read at a time.
const footerReaders = 16

// Footers reads the footers of objects, in parallel and in any order. If an object has been
// deleted meanwhile, it reads instead the other objects in its folder, because compaction may have
// put the rows into one of them. If that happens in each of relists more rounds, it fails: what it
// has read is no whole answer. each is called by one goroutine at a time.
func (s *Store) Footers(ctx context.Context, objects []Object, each func(Footer) error) error {
	read := make(map[string]bool, len(objects))
	for try := 0; ; try++ {
		gone, err := s.footers(ctx, objects, each)
		if err != nil || len(gone) == 0 {
			return err
		}
		if try == relists {
			return s.unread(gone)
		}
		for _, o := range objects {
			read[o.Key] = true
		}
		for _, o := range gone {
			delete(read, o.Key) // if it is still listed, it is not deleted, and must be read
		}
		objects = nil
		folders := map[string]bool{}
		for _, o := range gone {
			if folders[o.Name.Folder] {
				continue
			}
			folders[o.Name.Folder] = true
			there, err := s.Folder(ctx, o.Name.Folder)
			if err != nil {
				return err
			}
			for _, o := range there {
				if !read[o.Key] {
					objects = append(objects, o)
				}
			}
		}
	}
}

// unread returns the error about objects that were listed and then not found, however often they
// were listed again.
func (s *Store) unread(gone []Object) error {
	return fmt.Errorf("reading the footers of %d objects of %s, such as %s: listed %d times, but what was listed was not "+
		"all there: %w", len(gone), s.name, gone[0].Key, relists+1, ErrNotFound)
}

// relists is how often objects are listed again because some of them were deleted meanwhile.
const relists = 5

// footers reads footers, and returns the objects that do not exist any more.
func (s *Store) footers(ctx context.Context, objects []Object, each func(Footer) error) (gone []Object, err error) {
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(footerReaders)
	for _, o := range objects {
		g.Go(func() error {
			f, err := s.readFooter(ctx, o)
			mu.Lock()
			defer mu.Unlock()
			if errors.Is(err, ErrNotFound) {
				gone = append(gone, o)
				return nil
			} else if err != nil {
				return err
			}
			return each(f)
		})
	}
	err = g.Wait()
	return gone, err
}

// Coverage passes the footer of every object written since a time to each: the ledger that
// reconcile reads. A zero time means all objects.
func (s *Store) Coverage(ctx context.Context, since time.Time, each func(Footer) error) error {
	return s.MoreCoverage(ctx, since, map[string]time.Time{}, each)
}

// MoreCoverage is Coverage for the objects whose keys are not in read. It adds them to read; after
// an error, read may have an object that was not passed to each.
func (s *Store) MoreCoverage(ctx context.Context, since time.Time, read map[string]time.Time,
	each func(Footer) error) error {
	return s.eachFooter(ctx, func(ctx context.Context) ([]Object, error) {
		return s.Objects(ctx, Select{WrittenSince: since, Duplicates: true})
	}, read, each)
}

// eachFooter reads the footers of the listed objects that are not in read yet, and adds them to
// read. If an object was deleted meanwhile, its rows are in an object that was not in the list, so
// it lists again. If that happens in each of relists more rounds, it fails: what it has read is no
// whole answer.
func (s *Store) eachFooter(ctx context.Context, list func(context.Context) ([]Object, error), read map[string]time.Time,
	each func(Footer) error) error {
	for try := 0; ; try++ {
		objects, err := list(ctx)
		if err != nil {
			return err
		}
		objects = slices.DeleteFunc(objects, func(o Object) bool { _, ok := read[o.Key]; return ok })
		gone, err := s.footers(ctx, objects, func(f Footer) error {
			read[f.Key] = f.Written
			return each(f)
		})
		if err != nil || len(gone) == 0 {
			return err
		}
		if try == relists {
			return s.unread(gone)
		}
	}
}

// tail reads the end of an object once, and serves reads within it from memory.
type tail struct {
	r    io.ReaderAt
	size int64
	from int64
	buf  []byte
}

func (t *tail) ReadAt(p []byte, off int64) (int, error) {
	if t.buf == nil {
		n := min(int64(footerRead), t.size)
		buf := make([]byte, n)
		if _, err := t.r.ReadAt(buf, t.size-n); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		t.buf, t.from = buf, t.size-n
	}
	if off >= t.from && off+int64(len(p)) <= t.size {
		return copy(p, t.buf[off-t.from:]), nil
	}
	return t.r.ReadAt(p, off)
}
