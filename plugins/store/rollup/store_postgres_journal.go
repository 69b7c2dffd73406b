package rollup

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
)

// postgresJournalTables creates the tables of the journal. rollup_writer has a row for each
// process that has a part of it; the process locks the row while it works on its part. A process
// that takes over a part deletes the row, and the owner then begins a new part. Terms come from a
// sequence, so no term is used twice. The entries of a part are deleted in the same transaction as
// its row, or before.
const postgresJournalTables = `
CREATE SEQUENCE rollup_term;
CREATE TABLE rollup_writer (
	id text PRIMARY KEY, term bigint NOT NULL DEFAULT nextval('rollup_term'), batches bigint NOT NULL DEFAULT 0) WITH (fillfactor = 50);
CREATE TABLE rollup_journal (
	writer text NOT NULL, seq bigint NOT NULL, node integer NOT NULL, added_at bigint NOT NULL,
	first_bucket bigint NOT NULL, last_bucket bigint NOT NULL, body bytea NOT NULL, PRIMARY KEY (writer, seq, node))
	WITH (toast_tuple_target = 8160);
ALTER TABLE rollup_journal ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX rollup_journal_by_node ON rollup_journal (node);
`

// pgJournal is the part of one process, in one transaction.
type pgJournal struct {
	t      *postgresTx
	writer string
	batch  int64 // the number of this transaction in the part
	now    int64 // the term of the part
}

func (t *postgresTx) journal() journal { return t.parts() }

func (t *postgresTx) parts() parted {
	if t.part == nil {
		t.part = &pgJournal{t: t, writer: t.p.writer}
	}
	return t.part
}

// term also registers that this process works: its row is locked until the transaction ends, and
// the new value of batches shows others that it is alive. It never says that the part is empty.
func (j *pgJournal) term(ctx context.Context) (term int64, empty bool, err error) {
	err = j.t.QueryRow(ctx, `INSERT INTO rollup_writer AS w (id) VALUES ($1)
		ON CONFLICT (id) DO UPDATE SET batches = w.batches + 1 RETURNING term, batches`, j.writer).Scan(&j.now, &j.batch)
	return j.now, false, err
}

// nextTerm returns the same term: no other process has rows by this part in memory.
func (j *pgJournal) nextTerm(context.Context) (int64, error) { return j.now, nil }

// stored returns the last time there is, because other processes write rows as well.
func (j *pgJournal) stored(context.Context) (int64, error) { return math.MaxInt64, nil }

func (j *pgJournal) append(ctx context.Context, entries []*entryWriter, now time.Time) (seq int64, err error) {
	nodes, bodies := make([]int32, len(entries)), make([][]byte, len(entries))
	first, last := make([]int64, len(entries)), make([]int64, len(entries))
	for i, e := range entries {
		nodes[i], bodies[i], first[i], last[i] = int32(e.node), e.body, e.first, e.until
	}
	_, err = j.t.Exec(ctx, `INSERT INTO rollup_journal (writer, seq, node, added_at, first_bucket, last_bucket, body)
		SELECT $1, $2, e.node, $3, e.first, e.last, e.body
		FROM unnest($4::integer[], $5::bigint[], $6::bigint[], $7::bytea[]) AS e(node, first, last, body)`,
		j.writer, j.batch, now.Unix(), nodes, first, last, bodies)
	return j.batch, err
}

// entriesAtOnce is how many entries are read into memory at a time.
const entriesAtOnce = 500

func (j *pgJournal) entries(ctx context.Context, fn func(body []byte, now time.Time) error) error {
	type entry struct {
		Seq   int64
		Node  int32
		Added int64
		Body  []byte
	}
	for seq, node := int64(math.MinInt64), int32(0); ; {
		rows, err := j.t.Query(ctx, `SELECT seq, node, added_at, body FROM rollup_journal
			WHERE writer = $1 AND (seq, node) > ($2, $3) ORDER BY seq, node LIMIT $4`, j.writer, seq, node, entriesAtOnce)
		if err != nil {
			return err
		}
		some, err := pgx.CollectRows(rows, pgx.RowToStructByPos[entry])
		if err != nil {
			return err
		}
		for _, e := range some {
			if err := fn(e.Body, at(e.Added)); err != nil {
				return err
			}
			seq, node = e.Seq, e.Node
		}
		if len(some) < entriesAtOnce {
			return nil
		}
	}
}

func (j *pgJournal) clear(ctx context.Context, before int64) error {
	_, err := j.t.Exec(ctx, `DELETE FROM rollup_journal WHERE writer = $1 AND seq < $2`, j.writer, before)
	return err
}

// nodesMost is up to how many devices entries are looked up by their nodes. For more devices all
// entries are read.
const nodesMost = 64

func (j *pgJournal) meeting(ctx context.Context, of span, fn func(body []byte) error) error {
	query, args := `SELECT body FROM rollup_journal WHERE last_bucket >= $1 AND first_bucket < $2`, []any{of.From, of.To}
	if of.Fleet != "" && len(of.Devices) > 0 && len(of.Devices) <= nodesMost {
		query, args = query+` AND node = ANY($3)`, append(args, nodesOf(of.Fleet, of.Devices))
	}
	rows, err := j.t.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	var body []byte
	_, err = pgx.ForEachRow(rows, []any{&body}, func() error { return fn(body) })
	return err
}

func (j *pgJournal) hasBefore(ctx context.Context, before time.Time) (has bool, err error) {
	err = j.t.QueryRow(ctx, `SELECT EXISTS (SELECT FROM rollup_journal WHERE added_at < $1)`, before.Unix()).Scan(&has)
	return has, err
}

func (j *pgJournal) writers(ctx context.Context) ([]journalWriter, error) {
	rows, err := j.t.Query(ctx, `SELECT id, batches FROM rollup_writer ORDER BY id`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[journalWriter])
}

func (j *pgJournal) take(ctx context.Context, w journalWriter) (journal, bool, error) {
	tag, err := j.t.Exec(ctx, `DELETE FROM rollup_writer WHERE id = $1 AND ($2 < 0 OR batches = $2)`, w.ID, w.Batches)
	if err != nil {
		return nil, false, fmt.Errorf("taking over a journal: %w", err)
	}
	return &pgJournal{t: j.t, writer: w.ID}, tag.RowsAffected() == 1, nil
}

// oldestEntry is the time at which the oldest entry of all parts was added; infinity without
// entries.
const oldestEntry = `coalesce((SELECT to_timestamp(min(added_at)) FROM rollup_journal), 'infinity')`
