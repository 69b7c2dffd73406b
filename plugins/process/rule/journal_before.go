package rule

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"weir/internal/platform/sqldb"
)

// Earlier versions of weir wrote the changed keys of a partition into its journal as an image: one value with the state
// of each of these keys, which replaced the entries before it. A journal that has images, or entries that do not say
// which keys were refused, is written as rows when it is read.

// imageVersion is the first byte of an image.
const imageVersion = 100

func isImage(entry []byte) bool { return len(entry) > 0 && entry[0] == imageVersion }

// readImage calls do with the state of each key in an image; an empty state is that of a key that has ended.
func readImage(entry []byte, do func(epoch, name string, state []byte) error) error {
	d := &decoder{b: entry}
	d.head()
	epoch := ""
	for len(d.b) > 0 && !d.bad {
		switch d.byte() {
		case tagEpoch:
			epoch = d.text()
		case tagKey:
			name, _ := d.text(), d.text() // the second is its device
			state := d.take(d.length(1))
			if d.bad {
				break
			}
			if err := do(epoch, name, state); err != nil {
				return err
			}
		default:
			d.bad = true
		}
	}
	if d.bad {
		return fmt.Errorf("reading the journal of rules: %w", errDamaged)
	}
	return nil
}

// overlay replaces the keys that were read from rows by those in images, of one fleet or, if fleet is "", of all.
func (p *partition) overlay(j journal, fleet string) error {
	for _, one := range j.images {
		if err := readImage(one.entry, func(epoch, name string, state []byte) error {
			i := slices.IndexFunc(p.ops, func(op *operator) bool { return op.Epoch == epoch })
			of, key, _ := strings.Cut(name, "\x00")
			if i < 0 || fleet != "" && of != fleet {
				return nil
			}
			op := p.ops[i]
			if k := op.keys[name]; k != nil {
				op.touch(k)
				p.forget(op, k)
			}
			if len(state) == 0 {
				return nil
			}
			err := p.restore(op, of, key, state, emptySeq)
			if err == nil {
				op.touch(op.keys[name])
			}
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// foldImages writes the journals that have images as rows, because an erasure deletes rows and entries, but does not
// look into images.
func foldImages(ctx context.Context, tx *sql.Tx, dialect sqldb.Dialect) error {
	places, err := positions(ctx, tx)
	if err != nil {
		return err
	}
	for at, pos := range places {
		j, err := readJournal(ctx, tx, at)
		if err == nil && len(j.images) > 0 {
			err = fold(ctx, tx, dialect, nil, at, pos, j)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
