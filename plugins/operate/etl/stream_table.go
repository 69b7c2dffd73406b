package etl

import "context"

// tableStream writes batches to a table of a database. The transaction that has the rows also
// records the position in the log, in the table _weir_etl_positions beside it.
type tableStream struct {
	p  *Pipeline
	t  *dbTable
	id string
}

func (p *Pipeline) streamTable(ctx context.Context, t *dbTable, id string) (streamSink, error) {
	s, err := t.session(ctx, false)
	if err != nil {
		return nil, err
	}
	defer s.close(ctx)
	return &tableStream{p, t, id}, s.make(ctx, t.positions(t))
}

func (s *tableStream) at(ctx context.Context, log string) (m *marks, err error) {
	return m, s.t.within(ctx, nil, func(ctx context.Context, db dbSession) error {
		m, err = s.read(ctx, db, log)
		return err
	})
}

func (s *tableStream) read(ctx context.Context, db dbSession, log string) (*marks, error) {
	m := marks{log, map[int32]int64{}}
	err := db.query(ctx, func(scan func(...any) error) error {
		var n int32
		var next int64
		err := scan(&n, &next)
		m.Next[n] = next
		return err
	}, "SELECT part, next FROM "+s.t.marked()+" WHERE sink = ? AND pipeline = ? AND log = ? FOR UPDATE", s.t.table,
		s.p.Name, log)
	if err != nil || len(m.Next) == 0 {
		return nil, err
	}
	return &m, nil
}

func (s *tableStream) bring(ctx context.Context, d delivery) error {
	t := s.t
	m := merged{put: d.all()}
	if t.mode == modeMerge {
		m = d.merged(t.key)
	}
	staged, run := d.staged(m.put)
	return t.within(ctx, d.columns, func(ctx context.Context, db dbSession) error {
		if err := t.own(ctx, db, s.p.Name, s.id); err != nil {
			return err
		}
		is, err := s.read(ctx, db, d.to.Log)
		if err != nil {
			return err
		}
		if has, err := d.has(is); has || err != nil {
			return err
		}
		if err := t.erase(ctx, db, d.columns, m); err != nil {
			return err
		}
		if err := t.bringRows(ctx, db, s.p, staged, run, d.columns, &Sink{}); err != nil {
			return err
		}
		for _, n := range d.to.partitions() {
			if err := db.exec(ctx, t.put(t.marked(), []string{"sink", "pipeline", "log", "part"}, []string{"next"}),
				t.table, s.p.Name, d.to.Log, n, d.to.Next[n]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *tableStream) close() error { return nil }
