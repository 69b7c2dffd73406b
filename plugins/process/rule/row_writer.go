package rule

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
)

// rowWriter collects rows of keys, and writes them with few statements.
type rowWriter struct {
	topic, part any // converted to any once, not for each row
	of          *operator
	epoch       any
	puts        [][]any
	drops       []dropped
	states      []byte // of all of them, one behind the other
	name        string // of the last key
	n           int
}

// dropped is a key that has no row, unless that counts more than the entry seq.
type dropped struct {
	epoch, fleet, key string
	seq               int64
}

func rowsOf(p *partition) *rowWriter { return &rowWriter{topic: p.topic, part: p.number} }

// put adds the row of a key, which counts the journal up to an entry.
func (w *rowWriter) put(op *operator, name, device string, state []byte, seq int64) {
	fleet, key := w.next(op, name)
	w.puts = append(w.puts, []any{w.topic, w.part, w.epoch, fleet, key, device, state, seq})
}

// drop adds that a key has no row, unless it has one that counts more than an entry.
func (w *rowWriter) drop(op *operator, name string, seq int64) {
	fleet, key := w.next(op, name)
	w.drops = append(w.drops, dropped{op.Epoch, fleet, key, seq})
}

func (w *rowWriter) next(op *operator, name string) (fleet, key string) {
	if op != w.of {
		w.of, w.epoch = op, op.Epoch
	}
	w.n++
	fleet, key, _ = strings.Cut(name, "\x00")
	return fleet, key
}

func (w *rowWriter) flush(ctx context.Context, tx *sql.Tx, most int) error {
	if err := w.flushDrops(ctx, tx, most); err != nil {
		return fmt.Errorf("deleting the state of keys: %w", err)
	}
	if err := insert(ctx, tx, most, `rule_state (topic, part, epoch, fleet, key, device_id, state, seq)`,
		`ON CONFLICT (topic, part, epoch, fleet, key) DO UPDATE SET state = excluded.state, seq = excluded.seq`,
		w.puts); err != nil {
		return fmt.Errorf("writing the state of keys: %w", err)
	}
	return nil
}

// flushDrops deletes up to most rows with each statement.
func (w *rowWriter) flushDrops(ctx context.Context, tx *sql.Tx, most int) error {
	if most == 1 {
		for _, d := range w.drops {
			if _, err := tx.ExecContext(ctx, `DELETE FROM rule_state WHERE topic = $1 AND part = $2 AND epoch = $3
				AND fleet = $4 AND key = $5 AND seq <= $6`, w.topic, w.part, d.epoch, d.fleet, d.key, d.seq); err != nil {
				return err
			}
		}
		return nil
	}
	for some := range slices.Chunk(w.drops, most) { // most is of PostgreSQL
		epochs, fleets, keys, seqs := make([]string, len(some)), make([]string, len(some)), make([]string, len(some)),
			make([]int64, len(some))
		for i, d := range some {
			epochs[i], fleets[i], keys[i], seqs[i] = d.epoch, d.fleet, d.key, d.seq
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM rule_state s
			USING unnest($3::text[], $4::text[], $5::text[], $6::bigint[]) AS d (epoch, fleet, key, seq)
			WHERE s.topic = $1 AND s.part = $2 AND s.epoch = d.epoch AND s.fleet = d.fleet AND s.key = d.key AND s.seq <= d.seq`,
			w.topic, w.part, epochs, fleets, keys, seqs); err != nil {
			return err
		}
	}
	return nil
}
