package etl

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// mysqlStream follows the changes of a table. A position is the number of a file of the log and an
// offset in it, at which a transaction, or something between two transactions, begins: exactly what
// was committed before is before it. The server does not know how far its log was read, and removes
// files by their age.
type mysqlStream struct {
	mysqlChanges
	stand[mysqlItem]
	asks     *mysqlReading // connection for queries
	at       mysqlTable
	maria    bool
	base     string // name of the log's files without their number
	charsets map[uint64]string
	earlier  bool         // rows may have the columns of before a change
	reader   *mysqlReader // nil: reading has not begun

	files  []mysqlFile // of the log, in order
	looked time.Time
	shapes map[uint64]*mysqlShape
}

type mysqlFile struct{ number, size int64 }

func (c mysqlChanges) dial(ctx context.Context) (following, error) {
	s, err := c.watch(ctx)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// watch connects, and makes all checks that are possible before reading.
func (c mysqlChanges) watch(ctx context.Context) (*mysqlStream, error) {
	conn, err := c.connect(ctx, false)
	if err != nil {
		return nil, err
	}
	s := &mysqlStream{mysqlChanges: c, asks: c.reading(conn)}
	if err := s.ask(ctx); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (c mysqlChanges) reading(conn *mysqlConn) *mysqlReading {
	return &mysqlReading{mysqlSource: mysqlSource{mysqlServer: c.mysqlServer, table: c.table, zeroNull: c.zeroNull},
		conn: conn, key: -1}
}

func (s *mysqlStream) ask(ctx context.Context) (err error) {
	if s.at, err = s.mysqlChanges.look(ctx, s.asks); err != nil {
		return err
	}
	is, err := settings(ctx, s.asks)
	if err != nil {
		return err
	}
	s.maria = is.maria()
	s.log = fmt.Sprintf("%s/%s.%s", is.server(), s.at.schema, s.at.name)
	if s.charsets, err = charsetsOf(ctx, s.asks); err != nil {
		return err
	}
	if err := s.lookAtLog(ctx); err != nil {
		return err
	}
	return s.probe(ctx)
}

// charsetsOf returns the character sets of collations by the numbers that the log has of these.
func charsetsOf(ctx context.Context, r *mysqlReading) (map[uint64]string, error) {
	const noSuchColumn = 1054 // of MySQL, and of MariaDB before 10.10
	rows, err := r.conn.QueryContext(ctx, "SELECT ID, CHARACTER_SET_NAME "+
		"FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY")
	if mysqlNumber(r.refused("asking", err)) == noSuchColumn {
		rows, err = r.conn.QueryContext(ctx, "SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATIONS")
	}
	if err != nil {
		return nil, r.refused("asking", err)
	}
	all := map[uint64]string{}
	for rows.Next() && err == nil {
		var id *uint64
		var name *string
		if err = rows.Scan(&id, &name); id != nil && name != nil {
			all[*id] = *name
		}
	}
	if err = errors.Join(err, rows.Err(), rows.Close()); err != nil {
		return nil, r.refused("asking", err)
	}
	return all, nil
}

// probe reads the end of the log once, so that a missing privilege is reported before a snapshot is
// taken.
func (s *mysqlStream) probe(ctx context.Context) error {
	d, err := s.dumpFrom(ctx, s.base, s.ends.Next[0], s.maria, false)
	if err != nil {
		return err
	}
	defer d.conn.Close() // it was only read
	for {
		e, err := d.next()
		if err != nil {
			return s.cannotFollow("following", err)
		}
		if e == nil || d.place() >= s.ends.Next[0] && d.parsed(e) {
			return nil
		}
	}
}

func (s *mysqlStream) columns() []column {
	return append(slices.Clone(s.at.cols), s.meta.columns()...)
}
func (s *mysqlStream) describe() string { return s.mysqlChanges.describe() }

// begin checks that the log has everything that the sinks lack.
func (s *mysqlStream) begin(ctx context.Context, sinks []marks, earlier bool) error {
	s.earlier, s.stood = earlier, least(s.mark(0), sinks)
	s.flushed = s.stood.Next[0]
	if err := s.lookAtLog(ctx); err != nil {
		return err
	}
	has := lowest(sinks)
	if has < 0 {
		return nil
	}
	i := slices.IndexFunc(s.files, func(f mysqlFile) bool { return f.number == fileOf(has) })
	switch {
	case fileOf(has) < s.files[0].number:
		return dataError{fmt.Errorf("the server has removed the files of its log before %s, and a sink has what is before "+
			"%s: what was changed between is in no log. %s, and let the server keep its log for longer "+
			"(binlog_expire_logs_seconds)", placed(logged(s.files[0].number, 0)), placed(has), mysqlAnew)}
	case i < 0 || posOf(has) > s.files[i].size:
		return dataError{fmt.Errorf("the server's log ends at %s, and a sink has what is before %s: the log was begun anew "+
			"(RESET MASTER), or lost its end. %s", placed(s.ends.Next[0]), placed(has), mysqlAnew)}
	}
	return nil
}

// batch returns whole transactions.
func (s *mysqlStream) batch(ctx context.Context, g trigger) (*logBatch, error) {
	if s.reader == nil {
		if err := s.start(ctx); err != nil {
			return nil, err
		}
	}
	return s.take(ctx, g, s.changes, func(err error) error { return s.cannotFollow("following", err) })
}

// changes returns the changes of a transaction, in its order.
func (s *mysqlStream) changes(ctx context.Context, t *transaction[mysqlItem]) ([]change, error) {
	if t.err != nil {
		return nil, t.err
	}
	at := placed(t.end)
	c := &changed{facts: s.meta, end: at, position: at, at: t.at}
	for _, i := range t.items {
		if i.of == nil {
			if !s.empties {
				return nil, dataError{fmt.Errorf("table %s was emptied by TRUNCATE, in the transaction at %s, which takes all "+
					`rows from what is merged: let it, by "truncate": "apply" in the source`, s.table, placed(t.begin))}
			}
			c.add(opEmpty, operationTruncate, nulls(len(s.at.cols)), nil)
			continue
		}
		of, is := s.shapes[i.of.TableID]
		if !is {
			var err error
			if of, err = s.shape(ctx, i.of, t.begin); err != nil {
				return nil, err
			}
			s.shapes[i.of.TableID] = of
		}
		s.rows(c, of, i)
	}
	return c.all, nil
}

// rows adds the changes that one item of the log makes.
func (s *mysqlStream) rows(c *changed, of *mysqlShape, i mysqlItem) {
	var old, next row
	var err error
	if i.old != nil {
		old, err = s.row(of, i.old, i.lacks)
	}
	if i.new != nil && err == nil {
		next, err = s.row(of, i.new, i.lacks)
	}
	if err != nil {
		c.add(opPut, "", nil, err)
		return
	}
	c.row(old, next, old != nil, old != nil && next != nil && !sameKey(s.at.cols, s.at.primary, old, next))
}

func (s *mysqlStream) came(all marks) { s.flushed = all.Next[0] }

// lag returns how many bytes of the log follow what was read.
func (s *mysqlStream) lag() map[int32]int64 {
	at, n := s.reached(), int64(0)
	for _, f := range s.files {
		switch {
		case f.number == fileOf(at):
			n += max(0, f.size-posOf(at))
		case f.number > fileOf(at):
			n += f.size
		}
	}
	return map[int32]int64{0: n}
}

// lookAtLog lists the files of the log.
func (s *mysqlStream) lookAtLog(ctx context.Context) error {
	rows, err := s.asks.conn.QueryContext(ctx, "SHOW BINARY LOGS")
	if err != nil {
		return s.rights(s.refused("asking", err))
	}
	s.files = nil
	names, err := rows.Columns()
	for rows.Next() && err == nil {
		var f mysqlFile
		var name string
		into := []any{&name, &f.size}
		for len(into) < len(names) {
			into = append(into, new(any))
		}
		if err = rows.Scan(into...); err == nil {
			s.base, f.number, err = numberOfFile(name)
		}
		s.files = append(s.files, f)
	}
	if err = errors.Join(err, rows.Err(), rows.Close()); err != nil {
		return s.refused("asking", err)
	}
	if len(s.files) == 0 {
		return s.refused("asking", errors.New("it has no files of its log"))
	}
	last := s.files[len(s.files)-1]
	s.ends, s.looked = s.mark(logged(last.number, last.size)), time.Now()
	return nil
}

func (s *mysqlStream) look(ctx context.Context) error {
	if time.Since(s.looked) < lagEvery {
		return nil
	}
	return s.lookAtLog(ctx)
}

func (s *mysqlStream) close() {
	if s.reader != nil {
		s.reader.end()
	}
	s.asks.close()
}
