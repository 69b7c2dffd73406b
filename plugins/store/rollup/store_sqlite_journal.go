package rollup

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

func (t *sqliteTx) journal() journal { return t }

func (t *sqliteTx) term(ctx context.Context) (term int64, empty bool, err error) {
	err = t.tx.QueryRowContext(ctx, `SELECT term, NOT EXISTS (SELECT 1 FROM rollup_journal) FROM rollup_term`).Scan(&term,
		&empty)
	return term, empty, err
}

func (t *sqliteTx) nextTerm(ctx context.Context) (term int64, err error) {
	err = t.tx.QueryRowContext(ctx, `UPDATE rollup_term SET term = term + 1 RETURNING term`).Scan(&term)
	return term, err
}

func (t *sqliteTx) append(ctx context.Context, entries []*entryWriter, now time.Time) (seq int64, err error) {
	// A note has one entry here: notes are divided only for a journal with parts.
	res, err := t.tx.ExecContext(ctx, `INSERT INTO rollup_journal (added_at, body) VALUES (?, ?)`, now.Unix(),
		entries[0].body)
	if err != nil {
		return 0, err
	}
	return res.LastInsertId()
}

func (t *sqliteTx) entries(ctx context.Context, fn func(body []byte, now time.Time) error) error {
	// One row at a time, because fn uses the same connection.
	for seq := int64(0); ; {
		var added int64
		var body []byte
		err := t.tx.QueryRowContext(ctx, `SELECT seq, added_at, body FROM rollup_journal WHERE seq > ? ORDER BY seq LIMIT 1`,
			seq).
			Scan(&seq, &added, &body)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err == nil {
			err = fn(body, time.Unix(added, 0))
		}
		if err != nil {
			return err
		}
	}
}

func (t *sqliteTx) clear(ctx context.Context, before int64) error {
	_, err := t.tx.ExecContext(ctx, `DELETE FROM rollup_journal WHERE seq < ?`, before)
	return err
}

// stored reads the ends of indexes. A day that has objects counts with all its minutes.
func (t *sqliteTx) stored(ctx context.Context) (bucket int64, err error) {
	const rows, none = `(SELECT max(bucket) FROM rollup_window_1m WHERE ledger_state = `, `-9223372036854775808`
	err = t.tx.QueryRowContext(ctx, `SELECT max(coalesce(`+rows+`0), `+none+`), coalesce(`+rows+`1), `+none+`),
		coalesce(`+rows+`2), `+none+`), coalesce((SELECT max(day) + 86400 FROM rollup_cold), `+none+`))`).Scan(&bucket)
	return bucket, err
}
