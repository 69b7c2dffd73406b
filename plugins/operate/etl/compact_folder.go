package etl

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sort"
	"time"

	"weir/plugins/store/lake"
)

// A compaction of a folder is an attempt with a number. It writes files that no manifest names yet,
// and then puts the manifest with that number if there is none: the first attempt to put it has
// compacted the folder. Files of other attempts with this number or a lower one can no longer come
// into force, and tidy removes them. So a crash leaves the folder either as it was or compacted,
// and the next compaction cleans up. Streams are not affected: their manifests have other names.

// mostJoined bounds how many bytes of small files are put together in one file.
const mostJoined = 128 << 20

// mostLoose is how many manifests of batches since the last compaction are replaced by a new one
// even when no file is: batches without rows have manifests but no files.
const mostLoose = 200

func compactFolder(ctx context.Context, f *batchFolder, c Compaction) (done Compacted, err error) {
	for range mostCompactions {
		l, err := f.list(ctx)
		if err != nil {
			return done, err
		}
		if err := f.tidy(ctx, l, c, &done); err != nil {
			return done, err
		}
		has, err := f.has(ctx, l, mostTogether)
		if err != nil {
			return done, err
		}
		a := &attempt{batchFolder: f, c: c, number: l.newest + 1, id: attemptID(), listed: l}
		came, err := a.compact(ctx, has)
		if err != nil {
			return done, err
		}
		if came {
			done.add(a.done)
		} else if !a.beaten {
			return done, nil
		}
	}
	l, err := f.list(ctx)
	if err != nil {
		return done, err
	}
	return done, f.tidy(ctx, l, c, &done)
}

func attemptID() string {
	var chance [4]byte
	_, _ = rand.Read(chance[:]) // never fails
	return hex.EncodeToString(chance[:])
}

// attempt is one try to compact a folder.
type attempt struct {
	*batchFolder
	c      Compaction
	number int64
	id     string
	listed *listed

	files   []manifestFile // files of the folder after this attempt
	written []string       // keys of the files that this attempt has written
	done    Compacted
	beaten  bool // another attempt with this number came first
}

// compact tells whether the attempt came into force. It did not if there was nothing to do, or
// another was faster (a.beaten).
func (a *attempt) compact(ctx context.Context, has *inForce) (came bool, err error) {
	forget := func() error { return a.store.Remove(context.WithoutCancel(ctx), a.written...) }
	for rest := has.files; len(rest) > 0; {
		n := a.run(rest)
		if n < max(a.c.Least, 2) {
			n = max(n, 1)
			a.files, rest = append(a.files, rest[:n]...), rest[n:]
			continue
		}
		if err := a.join(ctx, rest[:n]); err != nil {
			return false, errors.Join(err, forget())
		}
		rest = rest[n:]
	}
	if a.done.Files == 0 && has.number-has.before.Number < mostLoose {
		return false, nil
	}
	m := compactedManifest{Pipeline: a.pipeline, ID: a.id, Compaction: a.number, Number: has.number, At: a.c.Now().UTC(),
		Rows: has.rows, Files: append([]manifestFile{}, a.files...)}
	if m.At.Before(has.before.At) { // the clock was put back: times of manifests stay in order
		m.At = has.before.At
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return false, errors.Join(err, forget())
	}
	err = a.store.PutNew(ctx, a.compactedKey(a.number), raw)
	if err == nil {
		return true, nil
	}
	if !errors.Is(err, lake.ErrExists) {
		return false, err // the manifest may be there: the files stay
	}
	there, err := a.readCompacted(ctx, lake.Blob{Key: a.compactedKey(a.number), Size: mostManifest}, a.number)
	if err != nil || there.ID == a.id { // its answer was lost
		return err == nil, err
	}
	a.beaten = true
	a.c.Tell(fmt.Sprintf("%s: another has compacted it meanwhile", a.name))
	return false, forget()
}

// run returns how many files at the beginning are small.
func (a *attempt) run(files []manifestFile) int {
	n := slices.IndexFunc(files, func(f manifestFile) bool { return f.Bytes >= a.c.Small })
	if n < 0 {
		return len(files)
	}
	return n
}

// join puts consecutive files with the same columns together, in their order.
func (a *attempt) join(ctx context.Context, files []manifestFile) error {
	in := &parts{attempt: a, files: files}
	for {
		first, err := in.peek(ctx)
		if first == nil || err != nil {
			return err
		}
		from := in.at
		out, err := a.write(ctx, in, first)
		if err != nil {
			return err
		}
		if in.at-from == 1 { // no later file has its columns: it stays, and tidy removes the copy
			a.files = append(a.files, files[from])
			continue
		}
		a.files = append(a.files, out)
		a.done.Files, a.done.Into, a.done.IntoBytes = a.done.Files+in.at-from, a.done.Into+1, a.done.IntoBytes+out.Bytes
		for _, f := range files[from:in.at] {
			a.done.Bytes += f.Bytes
		}
	}
}

// write puts the next files that have the columns of the first into one file, up to mostJoined
// bytes. Its name begins with the number of the first file, so that the order of names stays the
// order of rows.
func (a *attempt) write(ctx context.Context, in *parts, first *part) (out manifestFile, err error) {
	number, _ := numberOf(in.files[in.at].Name)
	out.Name = fmt.Sprintf("%012d%s%06d-%s-%d.%s", number, compactedWithin, a.number, a.id, len(a.written), a.format)
	key := a.name + "/" + out.Name
	a.written = append(a.written, key)
	return out, a.store.Write(ctx, key, func(w io.Writer) error {
		sum := newDigest(w)
		j, err := newJoiner(a.format, first, sum)
		if err != nil {
			return err
		}
		for size := int64(0); ; {
			one, err := in.peek(ctx)
			if err != nil {
				return err
			}
			if one == nil || one.head != first.head || size > 0 && size+one.file.Bytes > mostJoined {
				break
			}
			if err := j.add(one); err != nil {
				return fmt.Errorf("copying %s/%s: %w", a.name, one.file.Name, err)
			}
			out.Rows, size = out.Rows+one.file.Rows, size+one.file.Bytes
			in.next()
		}
		rows, err := j.end()
		if err == nil && rows >= 0 && rows != out.Rows {
			err = dataError{fmt.Errorf("the files from %s/%s on have %d rows, and their manifests say %d", a.name,
				first.file.Name, rows, out.Rows)}
		}
		out.Bytes, out.SHA256 = sum.bytes, sum.hex()
		return err
	})
}

// parts reads files in their order and holds one that was peeked at.
type parts struct {
	*attempt
	files []manifestFile
	at    int
	held  *part
}

// peek returns the next file without passing over it, or nil at the end.
func (p *parts) peek(ctx context.Context) (*part, error) {
	if p.held != nil || p.at == len(p.files) {
		return p.held, nil
	}
	file := p.files[p.at]
	b, is := p.listed.files[file.Name]
	if !is { // the listing may have passed the file's place before a batch wrote it and its manifest: list again
		l, err := p.list(ctx)
		if err != nil {
			return nil, err
		}
		b, is = l.files[file.Name]
	}
	if !is {
		return nil, dataError{fmt.Errorf("%s/%s is gone", p.name, file.Name)}
	}
	raw, err := p.read(ctx, b, p.c.Small)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(raw); hex.EncodeToString(sum[:]) != file.SHA256 {
		return nil, dataError{fmt.Errorf("%s holds other bytes than were written: it stays as it is", b.Key)}
	}
	if p.held, err = newPart(p.format, file, raw); err != nil {
		return nil, dataError{fmt.Errorf("reading %s: %w", b.Key, err)}
	}
	return p.held, nil
}

func (p *parts) next() { p.held, p.at = nil, p.at+1 }

// tidy removes what nobody reads any more: files of attempts with the newest compaction's number
// that did not come into force; and the files and manifests that a compaction older than c.Keep has
// replaced. A reader starts from the newest compaction that it finds: if it started less than
// c.Keep ago, all files that this one names, and all later batches, are still there.
func (f *batchFolder) tidy(ctx context.Context, l *listed, c Compaction, done *Compacted) error {
	if l.newest == 0 {
		return nil
	}
	newest, err := f.readCompacted(ctx, l.compacted[l.newest], l.newest)
	if err != nil {
		return err
	}
	old, err := f.oldEnough(ctx, l, c.Now().Add(-c.Keep))
	if err != nil {
		return err
	}
	named := map[string]bool{}
	for _, file := range slices.Concat(newest.Files, old.Files) {
		named[file.Name] = true
	}
	for _, name := range sortedKeys(l.files) {
		made := compactionOf(name)
		batch, is := numberOf(name)
		gone := is && (made == 0 && batch <= old.Number || made > 0 && (made <= old.Compaction || made == l.newest))
		if !gone || named[name] {
			continue
		}
		if err := f.store.Remove(ctx, l.files[name].Key); err != nil {
			return err
		}
		done.Vacuumed, done.VacuumedBytes = done.Vacuumed+1, done.VacuumedBytes+l.files[name].Size
		delete(l.files, name)
	}
	remove := func(all map[int64]lake.Blob, most int64) error {
		for _, n := range slices.Sorted(maps.Keys(all)) {
			if n > most {
				break
			}
			if err := f.store.Remove(ctx, all[n].Key); err != nil {
				return err
			}
			done.Log++
			delete(all, n)
		}
		return nil
	}
	if err := remove(l.batches, min(old.Number, l.last-1)); err != nil { // the last manifest has the position in the log
		return err
	}
	return remove(l.compacted, old.Compaction-1)
}

// oldEnough returns the newest compaction that is not after a time; number 0: there is none.
func (f *batchFolder) oldEnough(ctx context.Context, l *listed, before time.Time) (old compactedManifest, err error) {
	numbers := slices.Sorted(maps.Keys(l.compacted)) // their times have the same order
	sort.Search(len(numbers), func(i int) bool {
		m, failed := f.readCompacted(ctx, l.compacted[numbers[i]], numbers[i])
		if err = errors.Join(err, failed); err != nil {
			return true
		}
		if m.At.After(before) {
			return true
		}
		if m.Compaction > old.Compaction {
			old = m
		}
		return false
	})
	return old, err
}
