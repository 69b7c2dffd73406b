package etl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"weir/plugins/operate/etl/delta"
)

// mergeKeys are the keys of a run's rows, with values as the table stores them.
type mergeKeys struct {
	at   []int // the columns
	seen map[string]struct{}
	room *budget
	buf  []byte
}

// of returns the key of a row, valid until the next call; null is the index of a null column in it,
// or -1.
func (k *mergeKeys) of(r row) (key []byte, null int) {
	k.buf, null = k.buf[:0], -1
	for _, i := range k.at {
		if r[i].null {
			null = i
		}
		k.buf = appendCell(k.buf, r[i])
	}
	return k.buf, null
}

// add adds the key of a row of the run. A null in the key, or a key that was added before, is an
// error.
func (k *mergeKeys) add(r row, columns []column) error {
	key, null := k.of(r)
	if null >= 0 {
		return fmt.Errorf("column %q is null in a row: it has no key to merge by", columns[null].name)
	}
	if _, twice := k.seen[string(key)]; twice {
		var by []string
		for _, i := range k.at {
			by = append(by, columns[i].name)
		}
		return fmt.Errorf("two rows of the run have the same %s: dedupe them before", strings.Join(by, ", "))
	}
	if err := k.room.take(len(key) + entryBytes); err != nil {
		return err
	}
	k.seen[string(key)] = struct{}{}
	return nil
}

func (k *mergeKeys) has(r row) bool {
	key, _ := k.of(r)
	_, is := k.seen[string(key)]
	return is
}

// checkMerge returns why rows cannot be merged by the key into a table with these fields.
func (t *deltaTable) checkMerge(fields []delta.Field, columns []column) (wrong []error) {
	for _, f := range fields {
		if f.Nullable && indexOf(columns, f.Name) < 0 {
			wrong = append(wrong, fmt.Errorf("column %q of the table: the run has none of that name, and what is merged is "+
				"whole rows", f.Name))
		}
	}
	for _, name := range t.key {
		if at := indexOf(columns, name); at < 0 {
			wrong = append(wrong, noColumn(columns, name))
		} else if of := columns[at].of.kind; slices.Contains([]kind{kindJSON, kindFloat32, kindFloat64}, of) {
			wrong = append(wrong, fmt.Errorf("column %q is %s, by which nothing is merged: one value has several texts", name,
				of))
		}
	}
	return wrong
}

// merge rewrites each file of the table that has a row whose key the run has: it writes the file's
// other rows to new files, and adds the file to r.gone. Other files stay.
func (r *deltaRun) merge(ctx context.Context, s *delta.Snapshot) error {
	r.gone = nil
	if s.Version < 0 {
		return nil
	}
	if r.empty {
		for _, name := range sortedKeys(s.Files) {
			r.gone = append(r.gone, s.Files[name])
		}
		return nil
	}
	in, err := readingOf(r.at, s)
	if err != nil {
		return err
	}
	places := make([]int, len(r.columns)) // indices in the table
	for i, c := range r.columns {
		places[i] = indexOf(in.cols, c.name)
	}
	for _, f := range in.files {
		touched := false
		each := func(do func(row) (bool, error)) error {
			part, err := in.part(ctx, f)
			if err != nil {
				return err
			}
			defer part.close()
			for {
				given, err := part.next()
				switch {
				case errors.Is(err, io.EOF):
					return nil
				case errors.As(err, new(*rowError)):
					return dataError{fmt.Errorf("merging with what is in the table: %w", err)}
				case err != nil:
					return err
				}
				one := make(row, len(places))
				for i, at := range places {
					one[i] = given[at]
				}
				if on, err := do(one); err != nil || !on {
					return err
				}
			}
		}
		if err := each(func(one row) (bool, error) {
			touched = r.written.keys.has(one)
			return !touched, ctx.Err()
		}); err != nil {
			return err
		}
		if !touched {
			continue
		}
		r.gone = append(r.gone, f)
		if err := each(func(one row) (bool, error) {
			if r.written.keys.has(one) {
				return true, ctx.Err()
			}
			return true, r.written.keep(one)
		}); err != nil {
			return err
		}
	}
	return nil
}

// clear removes the files written for a version that another writer has made first: in mode merge
// they contain rows of the version before, and no version names them.
func (r *deltaRun) clear(ctx context.Context) error {
	if r.mode != modeMerge || r.written == nil {
		return nil
	}
	for _, f := range r.written.added {
		key, err := r.at.Key(f.Path)
		if err != nil {
			return err
		}
		if err := r.at.Store.Remove(ctx, key); err != nil {
			return err
		}
	}
	return nil
}
