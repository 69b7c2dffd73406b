package etl

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// postgresStream follows the changes of a table. A position is an LSN at which a commit, or a
// record between commits, begins: exactly what was committed before is before it. The server keeps
// the log from the position on that all sinks have reached.
type postgresStream struct {
	postgresChanges
	asks *postgresReading // connection for queries
	at   postgresTable
	stand[item]
	earlier bool // rows may have the columns of before a change
	conn    *pgx.Conn
	reader  *postgresReader // nil: reading has not begun

	looked time.Time
	shapes map[*pglogrepl.RelationMessage]shape
	slab   slab
}

func (c postgresChanges) dial(ctx context.Context) (following, error) {
	s, err := c.watch(ctx, true)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// watch opens two connections, and makes all checks that are possible before reading. With make, it
// may create the publication.
func (c postgresChanges) watch(ctx context.Context, make bool) (*postgresStream, error) {
	asks, err := c.connect(ctx, nil)
	if err != nil {
		return nil, err
	}
	s := &postgresStream{postgresChanges: c, asks: &postgresReading{conn: asks, key: -1,
		postgresSource: postgresSource{postgresServer: c.postgresServer}}}
	if err := s.ask(ctx, make); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *postgresStream) ask(ctx context.Context, make bool) (err error) {
	if s.at, err = s.postgresChanges.look(ctx, s.asks); err != nil {
		return err
	}
	if err := s.publish(ctx, s.asks, &s.at, make); err != nil {
		return err
	}
	if s.conn, err = s.replication(ctx); err != nil {
		return err
	}
	is, err := pglogrepl.IdentifySystem(ctx, s.conn.PgConn())
	if err != nil {
		return s.refused("asking", err)
	}
	s.log = fmt.Sprintf("%s/%s/%d/%d", is.SystemID, is.DBName, s.at.oid, s.at.published)
	return nil
}

// replication opens a connection for the replication protocol.
func (c postgresChanges) replication(ctx context.Context) (*pgx.Conn, error) {
	conn, err := c.connect(ctx, map[string]string{"replication": "database"})
	if Final(err) {
		return nil, dataError{fmt.Errorf("%w; the user may need the right to follow the log: ALTER ROLE … REPLICATION, "+
			"and a "+
			"line of pg_hba.conf that lets it in", err)}
	}
	return conn, err
}

func (s *postgresStream) columns() []column {
	return append(slices.Clone(s.at.cols), s.meta.columns()...)
}
func (s *postgresStream) describe() string     { return s.postgresChanges.describe() }
func (s *postgresStream) lag() map[int32]int64 { return map[int32]int64{0: s.behind()} }

func (s *postgresStream) behind() int64 { return max(0, s.ends.Next[0]-s.reached()) }

// begin creates the slot if there is none and no sink has anything. Otherwise it checks that the
// slot has everything that the sinks lack.
func (s *postgresStream) begin(ctx context.Context, sinks []marks, earlier bool) error {
	s.earlier, s.stood = earlier, least(s.mark(0), sinks)
	s.flushed = s.stood.Next[0]
	if err := s.lookAtLog(ctx); err != nil {
		return err
	}
	has := lowest(sinks)
	var plugin, database, status string
	var confirmed int64
	err := s.asks.conn.QueryRow(ctx, `SELECT COALESCE(plugin, ''), COALESCE(database, ''),
		COALESCE(to_jsonb(s) ->> 'wal_status', ''), COALESCE(confirmed_flush_lsn - '0/0'::pg_lsn, 0)::bigint
		FROM pg_replication_slots s WHERE slot_name = $1`, s.slot).Scan(&plugin, &database, &status, &confirmed)
	again := "begin anew: give the pipeline other sinks, or take away what they have, which get a new snapshot"
	switch {
	case errors.Is(err, pgx.ErrNoRows) && has < 0:
		return s.makeSlot(ctx)
	case errors.Is(err, pgx.ErrNoRows):
		return dataError{fmt.Errorf("slot %s is gone, and with it what was changed since %s: %s", s.slot, place(has), again)}
	case err != nil:
		return s.refused("asking", err)
	case plugin != "pgoutput" || database != s.database:
		return dataError{fmt.Errorf("slot %s is of plugin %q and database %q: name another slot", s.slot, plugin, database)}
	case status == "lost":
		return dataError{fmt.Errorf("slot %s has lost what was changed since %s, as the server keeps no more for it than "+
			"max_slot_wal_keep_size: drop the slot (SELECT pg_drop_replication_slot('%[1]s')), and %[3]s", s.slot, place(has),
			again)}
	case has >= 0 && confirmed > has:
		return dataError{fmt.Errorf("slot %s was read up to %s, and a sink has what is before %s: somebody else has read "+
			"the slot, or the sink is an older one: %s", s.slot, place(confirmed), place(has), again)}
	}
	return nil
}

// makeSlot creates the slot. The server waits for open transactions first.
func (s *postgresStream) makeSlot(ctx context.Context) error {
	_, err := pglogrepl.CreateReplicationSlot(ctx, s.conn.PgConn(), s.slot, "pgoutput",
		pglogrepl.CreateReplicationSlotOptions{SnapshotAction: "NOEXPORT_SNAPSHOT"})
	return s.slotRefused(err)
}

func (s *postgresStream) slotRefused(err error) error {
	var said *pgconn.PgError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &said) && said.Code == "53400":
		return fmt.Errorf("making a slot: all are in use: raise max_replication_slots, or drop one that nobody reads "+
			"(pg_replication_slots): %w", s.refused("asking", err))
	}
	return fmt.Errorf("making a slot: %w", s.refused("asking", err))
}

// place formats a position as the server does.
func place(at int64) string { return pglogrepl.LSN(max(at, 0)).String() }

// sortable formats a position so that the order of texts is that of the log.
func sortable(at int64) string { return fmt.Sprintf("%08X/%08X", uint32(at>>32), uint32(at)) }

// postgresSnapshot are the rows of a table as of a position of the log.
type postgresSnapshot struct {
	*postgresReading
	meta changeFacts
	at   string
	n    int64
}

// snapshot takes the snapshot of a temporary slot, which is dropped when it returns.
func (s *postgresStream) snapshot(ctx context.Context) (snapshotReading, marks, error) {
	exports, err := s.replication(ctx)
	if err != nil {
		return nil, marks{}, err
	}
	defer closePostgres(exports)
	var chance [6]byte
	_, _ = rand.Read(chance[:]) // never fails
	made, err := pglogrepl.CreateReplicationSlot(ctx, exports.PgConn(), "weir_etl_snapshot_"+hex.EncodeToString(chance[:]),
		"pgoutput", pglogrepl.CreateReplicationSlotOptions{Temporary: true, SnapshotAction: "EXPORT_SNAPSHOT"})
	if err != nil {
		return nil, marks{}, s.slotRefused(err)
	}
	at, err := pglogrepl.ParseLSN(made.ConsistentPoint)
	if err != nil {
		return nil, marks{}, fmt.Errorf("reading where the snapshot is: %w", err)
	}
	conn, err := s.connect(ctx, map[string]string{"row_security": "off"}) // rows that are hidden are an error
	if err != nil {
		return nil, marks{}, err
	}
	rows := &postgresSnapshot{&postgresReading{postgresSource: s.asks.postgresSource, conn: conn, cols: s.at.cols,
		key: -1},
		s.meta, sortable(int64(at)), 0}
	if err := rows.begin(ctx, made.SnapshotName, s.at); err != nil {
		rows.close()
		return nil, marks{}, err
	}
	return rows, s.mark(int64(at)), nil
}

func (r *postgresSnapshot) begin(ctx context.Context, name string, t postgresTable) (err error) {
	if _, err := r.conn.Exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"); err != nil {
		return r.refused("reading", err)
	}
	if _, err := r.conn.Exec(ctx, "SET TRANSACTION SNAPSHOT '"+name+"'"); err != nil {
		return r.refused("reading", err)
	}
	query := "SELECT " + quotedNames(names(r.cols)) + " FROM " + t.from()
	is, err := r.conn.Query(ctx, query+" LIMIT 0")
	if err != nil {
		return r.refused("reading", err)
	}
	fields := slices.Clone(is.FieldDescriptions())
	if is.Close(); is.Err() != nil {
		return r.refused("reading", is.Err())
	}
	for i, f := range fields { // the transaction's lock keeps them from changing
		if of, err := r.typeOf(ctx, f); err != nil || of != r.cols[i].of {
			return errors.Join(fmt.Errorf("column %q was changed meanwhile", f.Name), err)
		}
	}
	if r.rows, err = r.conn.Query(ctx, query); err != nil {
		return r.refused("reading", err)
	}
	return nil
}

func (r *postgresSnapshot) next() (row, string, error) {
	out, _, err := r.postgresReading.next()
	if err != nil {
		return nil, "", err
	}
	r.n++
	return r.meta.of(out, operationSnapshot, r.at, r.n, time.Time{}), "", nil
}

func closePostgres(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), postgresTimeout)
	defer cancel()
	_ = conn.Close(ctx) // its last answer has come
}

func (s *postgresStream) close() {
	if s.reader != nil {
		s.reader.end()
	}
	if s.conn != nil {
		closePostgres(s.conn)
	}
	s.asks.close()
}

// lookAtLog asks for the end of the log. It returns an error if the table is not the published one
// any more.
func (s *postgresStream) lookAtLog(ctx context.Context) error {
	var end int64
	var there bool
	if err := s.asks.conn.QueryRow(ctx, `SELECT (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
		ELSE pg_current_wal_flush_lsn() END - '0/0'::pg_lsn)::bigint, EXISTS (SELECT FROM pg_get_publication_tables($1) p
		WHERE p.relid = $2)`, s.publication, s.at.oid).Scan(&end, &there); err != nil {
		return s.refused("asking", err)
	}
	if !there {
		return dataError{fmt.Errorf("table %s was dropped, or taken out of publication %s: what is changed since is in no "+
			"log",
			s.table, s.publication)}
	}
	s.ends, s.looked = s.mark(end), time.Now()
	return nil
}

func (s *postgresStream) look(ctx context.Context) error {
	if time.Since(s.looked) < lagEvery {
		return nil
	}
	return s.lookAtLog(ctx)
}
