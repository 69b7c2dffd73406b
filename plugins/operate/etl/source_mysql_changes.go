package etl

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"slices"
	"strings"
)

// mysqlChanges is a table of a MariaDB or MySQL server whose changes are followed in the binary
// log, which is read as replicas read it.
type mysqlChanges struct {
	mysqlServer
	table     string
	serverID  uint32 // by which the server tells the readers of its log apart
	meta      changeFacts
	zeroNull  bool  // 0000-00-00 is read as null; else it is an error of the row
	additions bool  // new columns are accepted
	memory    int64 // MiB that a transaction may take
	empties   bool  // TRUNCATE empties tables that merge; else it ends the stream
}

func (p *Pipeline) readMySQLChanges(r *reader) source {
	c := mysqlChanges{mysqlServer: p.readMySQLServer(r), table: r.text("table", true),
		serverID: uint32(r.number("server_id", int64(usualServerID(p.Name)), 1, 1<<32-1)), meta: readChangeFacts(r),
		zeroNull: r.oneOf("zero_dates", "refuse", "null") == "null", additions: p.additions, memory: p.memory,
		empties: r.oneOf("truncate", "refuse", "apply") == "apply"}
	for _, name := range []string{"query", "key"} {
		if at := r.member(name); at != nil {
			r.wrong(at, "a stream reads the changes of a whole table, in the order of their commits: it has no %s", name)
		}
	}
	return c
}

// usualServerID returns an id that is the same each time a pipeline starts on a machine, so that
// the server drops the connection of a predecessor that was killed. Its highest bit is set, as ids
// of servers are usually small.
func usualServerID(pipeline string) uint32 {
	host, _ := os.Hostname() // without it, pipelines still differ by name
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(host + "/" + pipeline))
	return sum.Sum32() | 1<<31
}

func (c mysqlChanges) facts() changeFacts { return c.meta }

func (c mysqlChanges) describe() string {
	return fmt.Sprintf("the changes of table %s of MySQL %s", c.table, c.host)
}

// mysqlTable is the server's description of a table.
type mysqlTable struct {
	tableName
	cols    []column
	has     []mysqlColumn // the server's description of each column
	hidden  []string      // columns that are in the log, but not in rows
	primary []string      // columns of the primary key
}

const mysqlMetadata = "SET GLOBAL binlog_row_metadata = FULL, and binlog_row_metadata = FULL in its configuration"

// look reads the table's description. It returns an error that says why its changes cannot be
// followed.
func (c mysqlChanges) look(ctx context.Context, r *mysqlReading) (t mysqlTable, err error) {
	is, err := settings(ctx, r)
	if err != nil {
		return t, err
	}
	if err := is.logs(c.serverID); err != nil {
		return t, err
	}
	schema, name, qualified := strings.Cut(c.table, ".")
	if !qualified {
		schema, name = c.database, c.table
	}
	var kind, engine string
	t.fold = is["lower_case_table_names"] != "0"
	rows, err := r.conn.QueryContext(ctx, `SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, COALESCE(ENGINE, '')
		FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?`, schema, name)
	if err != nil {
		return t, r.refused("asking", err)
	}
	for rows.Next() && err == nil {
		err = rows.Scan(&t.schema, &t.name, &kind, &engine)
	}
	if err = errors.Join(err, rows.Err(), rows.Close()); err != nil {
		return t, r.refused("asking", err)
	}
	switch {
	case t.name == "":
		return t, dataError{fmt.Errorf("there is no table %s, or the user has no right to it", c.table)}
	case kind != "BASE TABLE":
		return t, dataError{fmt.Errorf("%s is a %s: the log has changes of tables alone, and of those without a history",
			c.table, strings.ToLower(kind))}
	case engine != "InnoDB":
		return t, dataError{fmt.Errorf("table %s is one of %s, which has no snapshots: ALTER TABLE … ENGINE = InnoDB",
			c.table, engine)}
	}
	if err := c.lookAround(ctx, r, t); err != nil {
		return t, err
	}
	if err := c.lookColumns(ctx, r, is.maria(), &t); err != nil {
		return t, err
	}
	return t, c.meta.check(t.cols)
}

// lookAround returns an error if the log lacks changes of the table: because the server leaves out
// its database, or because a foreign key makes changes that are not logged.
func (c mysqlChanges) lookAround(ctx context.Context, r *mysqlReading, t mysqlTable) error {
	if _, err := c.logEnds(ctx, r, t.schema); err != nil {
		return err
	}
	var cascade string
	if err := r.conn.QueryRowContext(ctx, `SELECT COALESCE(MIN(CONSTRAINT_NAME), '')
		FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = ? AND TABLE_NAME = ? AND
		(DELETE_RULE NOT IN ('RESTRICT', 'NO ACTION') OR UPDATE_RULE NOT IN ('RESTRICT', 'NO ACTION'))`, t.schema,
		t.name).Scan(&cascade); err != nil {
		return r.refused("asking", err)
	}
	if cascade != "" {
		return dataError{fmt.Errorf("the foreign key %s of table %s changes rows when those of another table go or change "+
			"(CASCADE, SET NULL), and the log has no changes of that: let it RESTRICT, and let who changes the other table "+
			"change these, too", cascade, c.table)}
	}
	return nil
}

// lookColumns reads the columns of the table.
func (c mysqlChanges) lookColumns(ctx context.Context, r *mysqlReading, maria bool, t *mysqlTable) error {
	all, err := mysqlColumns(ctx, r.conn, c.table)
	if err != nil {
		return r.refused("asking", err)
	}
	var wrong []error
	for _, one := range all {
		if one.primary {
			t.primary = append(t.primary, one.name)
		}
		if one.hidden {
			t.hidden = append(t.hidden, one.name)
			continue
		}
		of, err := one.kept()
		if err == nil {
			err = one.followed(maria)
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("column %q: %w", one.name, err))
		}
		t.cols, t.has = append(t.cols, column{one.name, of}), append(t.has, one)
	}
	if len(wrong) > 0 {
		return dataError{fmt.Errorf("following table %s, whose columns come as they are: %w", c.table, errors.Join(wrong...))}
	}
	return nil
}

// followed returns why changes of a column cannot be read; nil: they can.
func (c mysqlColumn) followed(maria bool) error {
	switch {
	case c.kind == "json" && !maria:
		return errors.New("the log of MySQL has JSON in a form of its own, which is not read: keep it as a text")
	case strings.Contains(c.whole, "compressed"), strings.Contains(c.whole, "mariadb-5.3"):
		return errors.New("the log has it in a form that is not read: ALTER TABLE … MODIFY it without what its type says " +
			"in a comment")
	case c.charset != "" && !readsCharset(c.charset):
		return errors.New(cannotCharset(c.charset))
	}
	return nil
}

// mysqlSettings are global variables of the server.
type mysqlSettings map[string]string

func settings(ctx context.Context, r *mysqlReading) (mysqlSettings, error) {
	rows, err := r.conn.QueryContext(ctx, `SHOW GLOBAL VARIABLES WHERE Variable_name IN ('log_bin', 'binlog_format',
		'binlog_row_image', 'binlog_row_metadata', 'binlog_row_value_options', 'binlog_transaction_compression',
		'lower_case_table_names', 'server_id', 'server_uid', 'server_uuid', 'hostname', 'port', 'version')`)
	if err != nil {
		return nil, r.refused("asking", err)
	}
	all := mysqlSettings{}
	for rows.Next() && err == nil {
		var name, value string
		err = rows.Scan(&name, &value)
		all[name] = value
	}
	if err = errors.Join(err, rows.Err(), rows.Close()); err != nil {
		return nil, r.refused("asking", err)
	}
	return all, nil
}

func (s mysqlSettings) maria() bool { return strings.Contains(s["version"], "MariaDB") }

// server identifies the server: each has its own log.
func (s mysqlSettings) server() string {
	for _, name := range []string{"server_uuid", "server_uid"} {
		if s[name] != "" {
			return s[name]
		}
	}
	return s["hostname"] + ":" + s["port"] + ":" + s["server_id"]
}

// logs returns an error if the server does not log changes of rows in the form that is read here.
func (s mysqlSettings) logs(reader uint32) error {
	for _, one := range []struct{ name, is, what, mend string }{
		{"log_bin", "ON", "keeps no log of changes", "log_bin and a server_id in its configuration, and restart it"},
		{"binlog_format", "ROW", "logs statements", "SET GLOBAL binlog_format = ROW, and binlog_format = ROW in its " +
			"configuration; sessions that were open keep theirs"},
		{"binlog_row_image", "FULL", "does not log all columns", "SET GLOBAL binlog_row_image = FULL, and " +
			"binlog_row_image = FULL in its configuration; sessions that were open keep theirs"},
		{"binlog_row_metadata", "FULL", "does not log the names of columns", mysqlMetadata +
			" (MariaDB from 10.5, MySQL from 8.0.1)"},
		{"binlog_row_value_options", "", "logs parts of a JSON", "SET GLOBAL binlog_row_value_options = ''"},
		{"binlog_transaction_compression", "OFF", "compresses whole transactions", mysqlCompression},
	} {
		is, there := s[one.name]
		if there && !strings.EqualFold(is, one.is) || !there && one.name == "binlog_row_metadata" {
			return dataError{fmt.Errorf("the server %s (%s is %q): %s", one.what, one.name, is, one.mend)}
		}
	}
	if s["server_id"] == fmt.Sprint(reader) {
		return dataError{fmt.Errorf("the server itself has the server_id %d: give the source another", reader)}
	}
	return nil
}

// logEnds returns where the log ends, or an error if the server does not log changes of the
// database schema.
func (c mysqlChanges) logEnds(ctx context.Context, r *mysqlReading, schema string) (end mysqlPlace, err error) {
	asked := "SHOW MASTER STATUS"
	rows, err := r.conn.QueryContext(ctx, asked)
	const noSuchStatement = 1064 // of MySQL from 8.4
	if mysqlNumber(r.refused("asking", err)) == noSuchStatement {
		rows, err = r.conn.QueryContext(ctx, "SHOW BINARY LOG STATUS")
	}
	if err != nil {
		return end, c.rights(r.refused("asking", err))
	}
	var only, not string
	names, err := rows.Columns()
	for rows.Next() && err == nil {
		into := []any{&end.name, &end.pos, &only, &not}
		for len(into) < len(names) {
			into = append(into, new(any))
		}
		err = rows.Scan(into...)
	}
	if err = errors.Join(err, rows.Err(), rows.Close()); err != nil {
		return end, r.refused("asking", err)
	}
	if only != "" && !slices.Contains(strings.Split(only, ","), schema) ||
		slices.Contains(strings.Split(not, ","), schema) {
		return end, dataError{fmt.Errorf("the server leaves database %s out of its log (binlog_do_db, binlog_ignore_db)",
			schema)}
	}
	return end, nil
}

// mysqlPlace is a position of the log as the server names it.
type mysqlPlace struct {
	name string
	pos  int64
}

// rights adds to a final error which privileges a reader of the log needs.
func (c mysqlChanges) rights(err error) error {
	if !Final(err) {
		return err
	}
	return dataError{fmt.Errorf("%w; who follows a log needs: GRANT SELECT ON %s TO …; GRANT REPLICATION SLAVE, "+
		"REPLICATION CLIENT ON *.* TO … (BINLOG MONITOR is what MariaDB calls the last)", err, backtickedTable(c.table))}
}

// open reads the columns, for a plan. A stream uses dial.
func (c mysqlChanges) open(ctx context.Context) (reading, error) {
	s, err := c.watch(ctx)
	if err != nil {
		return nil, err
	}
	return planReading{s}, nil
}

func (s *mysqlStream) notes() []string {
	return []string{fmt.Sprintf("  the server knows this reader of its log by the server_id %d", s.serverID)}
}
func (s *mysqlStream) known() ([]string, string) { return nil, "" } // all: the log has whole rows
