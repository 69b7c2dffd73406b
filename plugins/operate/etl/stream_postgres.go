package etl

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// tableStream brings batches into a table of PostgreSQL: the transaction that has the
// rows also notes, in _weir_etl_positions beside it, how far the log has been read.
type tableStream struct {
	p  *Pipeline
	t  *postgresTable
	id string
}

func (t *postgresTable) positions() string { return t.beside("_weir_etl_positions") }

func (p *Pipeline) streamTable(ctx context.Context, t *postgresTable, id string) (streamSink, error) {
	err := t.within(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", "weir etl"); err != nil {
			return t.refused("writing to", err)
		}
		return t.exec(ctx, tx, "CREATE TABLE IF NOT EXISTS "+t.positions()+` (sink text, pipeline text, log text,
			part integer, next bigint NOT NULL, PRIMARY KEY (sink, pipeline, log, part))`)
	})
	return &tableStream{p, t, id}, err
}

func (s *tableStream) at(ctx context.Context, log string) (m *marks, err error) {
	return m, s.t.within(ctx, func(ctx context.Context, tx pgx.Tx) error {
		m, err = s.read(ctx, tx, log)
		return err
	})
}

func (s *tableStream) read(ctx context.Context, tx pgx.Tx, log string) (*marks, error) {
	rows, err := tx.Query(ctx, "SELECT part, next FROM "+s.t.positions()+
		" WHERE sink = $1 AND pipeline = $2 AND log = $3 FOR UPDATE", s.t.table, s.p.Name, log)
	if err != nil {
		return nil, s.t.refused("asking", err)
	}
	m := marks{log, map[int32]int64{}}
	for rows.Next() {
		var n int32
		var next int64
		if err := rows.Scan(&n, &next); err != nil {
			return nil, s.t.refused("asking", err)
		}
		m.Next[n] = next
	}
	if err := rows.Err(); err != nil {
		return nil, s.t.refused("asking", err)
	}
	if len(m.Next) == 0 {
		return nil, nil
	}
	return &m, nil
}

func (s *tableStream) bring(ctx context.Context, d delivery) error {
	t := s.t
	rows := d.block.rows
	if t.mode == modeMerge {
		rows = lastOf(rows, d.columns, t.key)
	}
	staged, run := d.staged(rows)
	return t.within(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if err := t.own(ctx, tx, s.p.Name, s.id); err != nil {
			return err
		}
		is, err := s.read(ctx, tx, d.to.Log)
		if err != nil {
			return err
		}
		if has, err := d.has(is); has || err != nil {
			return err
		}
		if err := t.bringRows(ctx, tx, s.p, staged, run, d.columns, &Sink{}); err != nil {
			return err
		}
		for _, n := range d.to.partitions() {
			if _, err := tx.Exec(ctx, "INSERT INTO "+t.positions()+" (sink, pipeline, log, part, next) "+
				"VALUES ($1, $2, $3, $4, $5) ON CONFLICT (sink, pipeline, log, part) DO UPDATE SET next = excluded.next",
				t.table, s.p.Name, d.to.Log, n, d.to.Next[n]); err != nil {
				return t.refused("writing to", err)
			}
		}
		return nil
	})
}

func (s *tableStream) close() error { return nil }
