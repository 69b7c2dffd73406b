package etl

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/tests/integration/require"
	"weir/tests/integration/vaulted"
)

// mysqlTypes are all types that are kept, with their border values.
const mysqlTypes = `CREATE TABLE etl_sink.types (id bigint PRIMARY KEY, u8 tinyint unsigned, i8 tinyint, b1 boolean,
	u16 smallint(5) unsigned zerofill, i16 smallint, i24 mediumint, u24 mediumint unsigned, i32 int, u32 int unsigned,
	u64 bigint unsigned, f float, d double, n decimal(38,10), un decimal(10,2) unsigned, flag bit(1), bits bit(9), all_bits bit(64),
	y year, day date, local datetime(6), whole_local datetime, at timestamp(6) NULL, whole_at timestamp NULL,
	c char(3), v varchar(20), latin varchar(20) CHARACTER SET latin1, x longtext, mood enum('sad', 'ok', ''), some set('a', 'b', 'c'),
	raw varbinary(9), fixed binary(3), more longblob, j json, u uuid, "a.b" int, "é" int, "Select" int, hidden int INVISIBLE,
	made int AS (i16) VIRTUAL);
INSERT INTO etl_sink.types VALUES
(9223372036854775807, 255, 127, 1, 42, 32767, 8388607, 16777215, 2147483647, 4294967295, 18446744073709551615, 0.1, 0.1,
	1234567890123456789012345678.0123456789, 99999999.99, b'1', b'101010101', 18446744073709551615, 2155, '9999-12-31',
	'9999-12-31 23:59:59.999999', '2026-01-02 03:04:05', '2038-01-19 03:14:07.999999', '1970-01-01 00:00:01',
	'ab ', 'é "q", ', 'é€', '😀', 'sad', 'a,c', x'00ff', x'01', x'0aff', '{"a":  [1.10, null], "a": 1}',
	'0197b2f4-5d0e-7c3a-9f1e-3b5a7c9d1e2f', 1, 2, 3, DEFAULT),
(-9223372036854775808, 0, -128, 0, 0, -32768, -8388608, 0, -2147483648, 0, 0, 16777217, 5e-324,
	-1234567890123456789012345678.0123456789, 0, b'0', b'0', 0, 1901, '0001-01-01',
	'0001-01-01 00:00:00.000001', '1000-01-01 00:00:00', '1970-01-01 00:00:01.000001', '2038-01-19 03:14:07',
	'', '', '', '', '', '', '', '', '', '""', '00000000-0000-0000-0000-000000000000', NULL, NULL, NULL, DEFAULT),
(0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 3.40282346e38, 1.7976931348623157e308, NULL, NULL, NULL, NULL, NULL, 0,
	NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, DEFAULT)`

// expected is a file of what must come out, whatever it is that comes.
func expected(t *testing.T, name, got string) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range strings.Split(string(raw), "\n") {
		lines := strings.Split(got, "\n")
		if i >= len(lines) || lines[i] != want {
			t.Errorf("%s: line %d\n%s\nwant\n%s", name, i+1, lines[min(i, len(lines)-1)], want)
		}
	}
}

// Each type with its border values is what the file says, in a file of ours, in a
// table that is made for it, and when it is read from there.
func TestMySQL_EveryTypeIsExactBothWays(t *testing.T) {
	db, fields := mysqlDB(t)
	emptyDatabase(t, db)
	onMySQL(t, db, "SET sql_mode = 'ANSI_QUOTES,STRICT_ALL_TABLES'; "+mysqlTypes)
	p := fromTable(t, fields, `, "table": "etl_sink.types", "key": "id"`)
	runs(t, p, options(t))
	expected(t, "mysql_types.ndjson", contents(t, p)["x.ndjson"])
	if !strings.Contains(contents(t, p)["x.csv"], "\n0,,,,,,,,,,,3.4028235e+38,1.7976931348623157e+308,") {
		t.Errorf("CSV: %s", contents(t, p)["x.csv"])
	}

	whole, err := loaded(t, map[string]string{"p.json": `{"name": "both", "block": 2, "source": {` + fields +
		`, "table": "etl_sink.types", "key": "id"}, "sinks": [{` + strings.Replace(fields, "type", "format", 1) +
		`, "table": "etl_sink.t"}]}`})
	if err != nil {
		t.Fatal(err)
	}
	o := options(t)
	for range 2 { // run again, it is the same
		runs(t, whole, o)
		back := fromTable(t, fields, `, "table": "etl_sink.t", "key": "id"`)
		runs(t, back, options(t))
		expected(t, "mysql_types_back.ndjson", contents(t, back)["x.ndjson"])
	}
	expected(t, "mysql_types_made.txt", oneOfMySQL(t, db, "SELECT GROUP_CONCAT(COLUMN_NAME, ' ', COLUMN_TYPE ORDER BY "+
		"ORDINAL_POSITION SEPARATOR '\n') FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'etl_sink' "+
		"AND TABLE_NAME = 't'")+"\n")
	r, err := whole.ReadReport(o.State, "")
	if err != nil {
		t.Fatal(err)
	}
	onMySQL(t, db, "UPDATE etl_sink.t SET v = 'e \"q\", ' WHERE id > 0") // the same to a collation
	if findings, err := whole.Audit(t.Context(), r); err != nil ||
		fmt.Sprint(findings) != "[etl_sink.t holds other rows than the run wrote]" {
		t.Errorf("%v, %v", findings, err)
	}
}

// What no type holds exactly is refused by the name of its column, before or at
// the row; nothing of the run is to be seen.
func TestMySQL_WhatIsNotExactIsRefusedByName(t *testing.T) {
	db, fields := mysqlDB(t)
	emptyDatabase(t, db)
	onMySQL(t, db, `SET sql_mode = 'ALLOW_INVALID_DATES'; CREATE TABLE etl_sink.dates (id int, day date, local datetime, at timestamp NULL);
		INSERT INTO etl_sink.dates VALUES (1, '0000-00-00', '0000-00-00', '0000-00-00'), (2, '2026-02-31', '2026-01-02', '2026-01-02'),
			(3, '2026-00-00', NULL, NULL), (4, '2026-01-02', '0000-00-00', '2026-01-02 03:04:05');
		CREATE TABLE etl_sink.wide (d decimal(65,30)); CREATE TABLE etl_sink.times (t time);
		CREATE TABLE etl_sink.keys (e enum('b', 'a') NOT NULL, f float NOT NULL, x longtext NOT NULL, v varchar(9) NOT NULL);
		INSERT INTO etl_sink.keys VALUES ('a', 1, 'a', 'a'), ('b', 2, 'b', 'A')`)
	for query, says := range map[string]string{
		"SELECT CAST('838:59:59' AS TIME) AS x":              `column "x": there is no exact type for time: select it as text`,
		"SELECT POINT(1, 2) AS x":                            `column "x": there is no exact type for geometry`,
		"SELECT b'1' + 0 AS x, 2 AS x":                       `Duplicate column name 'x'`,
		"SELECT day AS x FROM etl_sink.dates WHERE id = 1":   `row 1: reading the source: column "x": it is no date`,
		"SELECT day AS x FROM etl_sink.dates WHERE id = 2":   `column "x": it is no date`,
		"SELECT day AS x FROM etl_sink.dates WHERE id = 3":   `column "x": it is no date`,
		"SELECT local AS x FROM etl_sink.dates WHERE id = 1": `column "x": it is no time`,
		"SELECT at AS x FROM etl_sink.dates WHERE id = 1":    `column "x": it is no time`,
		"SELECT * FROM no_such_table":                        "no_such_table' doesn't exist (error 1146)",
		"SELECT 1 AS x UNION ALL SELECT 1":                   "null in a row, or the same in two",
		"SELECT NULLIF(id, 3) AS x FROM etl_sink.dates":      "null in a row",
		"SELECT e AS x FROM etl_sink.keys":                   `the key "x" is a enum, whose order and equality`,
		"SELECT f AS x FROM etl_sink.keys":                   `the key "x" is a float`,
		"SELECT x FROM etl_sink.keys":                        `the key "x" is a text`,
		"SELECT d AS x FROM etl_sink.wide":                   `column "x": decimal(65,30) has more than 38 digits`,
		"SELECT 1 AS x WHERE 1 = 1 ORDER BY s3cret":          "s3cret",
	} {
		key := ""
		if strings.Contains(says, "null in") || strings.Contains(says, "the key") {
			key = `, "key": "x"`
		}
		p := fromTable(t, fields, fmt.Sprintf(`, "query": %q%s`, query, key))
		if _, err := p.Run(t.Context(), options(t)); !Final(err) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %s", query, err, says)
		}
		if got := contents(t, p); len(got) > 0 {
			t.Errorf("%s: there is %v", query, got)
		}
	}
	p := fromTable(t, fields, `, "table": "etl_sink.dates", "zero_dates": "null"`)
	p.onFailure, p.rejects = onReject, &target{format: rejectsFormat, url: "file://out", object: "rejects"}
	runs(t, p, options(t))
	if got, want := contents(t, p)["x.ndjson"], `{"id":1,"day":null,"local":null,"at":null}
{"id":4,"day":"2026-01-02","local":null,"at":"2026-01-02T03:04:05Z"}
`; got != want {
		t.Errorf("zero dates are null:\n%s", got)
	}
	if got := contents(t, p)["rejects"]; strings.Count(got, `"reason":"column \"day\": it is no date`) != 2 ||
		!strings.Contains(got, "2026-02-31") {
		t.Errorf("rejects: %s", got)
	}
}

// An interrupted run goes on behind its last key, whatever the key is, and no hostile
// password of the Vault is in any error of any kind.
func TestMySQL_GoesOnBehindItsKey(t *testing.T) {
	db, fields := mysqlDB(t)
	emptyDatabase(t, db)
	onMySQL(t, db, `CREATE TABLE etl_sink.t (i bigint, u bigint unsigned, n decimal(38,10), v varchar(20), raw binary(2),
			at timestamp(6) NULL, local datetime(6), day date);
		INSERT INTO etl_sink.t SELECT seq, 18446744073709551515 + seq, 12345678901234567890.0000000001 * seq, concat('Row ', seq + 100),
			unhex(hex(char(seq + 100, seq))), '2026-01-01' + INTERVAL seq MICROSECOND, '2026-01-01' + INTERVAL seq MICROSECOND,
			'2026-01-01' + INTERVAL seq DAY FROM seq_1_to_99`)
	for _, key := range []string{"i", "u", "n", "v", "raw", "at", "local", "day"} {
		whole, p, o := fromTable(t, fields, `, "table": "etl_sink.t", "key": "`+key+`"`),
			fromTable(t, fields, `, "query": "SELECT * FROM etl_sink.t -- all", "key": "`+key+`"`), options(t)
		if _, err := whole.Run(t.Context(), options(t)); err != nil {
			t.Fatal(key, err)
		}
		n := 50
		p.source = breaking{p.source, &n, errors.New("the cable is out")}
		if _, err := p.Run(t.Context(), o); err == nil {
			t.Fatal("it did not break")
		}
		on := false
		o.Tell = func(line string) { on = on || strings.HasSuffix(line, "after 49 rows") }
		r, err := p.Run(t.Context(), o)
		if err != nil || !on || fmt.Sprint(contents(t, p)) != fmt.Sprint(contents(t, whole)) {
			t.Errorf("%s: %v, went on: %t", key, err, on)
		}
		if findings, err := p.Audit(t.Context(), r); err != nil || len(findings) > 0 {
			t.Errorf("%s: %v, %v", key, findings, err)
		}
	}
	// what is the same to the collation is refused where a run goes on between the two
	onMySQL(t, db, `CREATE TABLE etl_sink.twins (v varchar(9)); INSERT INTO etl_sink.twins VALUES ('a'), ('b'), ('B'), ('c')`)
	p, o := fromTable(t, fields, `, "table": "etl_sink.twins", "key": "v"`), options(t)
	p.block = 1
	n := 3
	p.source = breaking{p.source, &n, errors.New("the server is gone")}
	if _, err := p.Run(t.Context(), o); err == nil {
		t.Fatal("it did not break")
	}
	if _, err := p.Run(t.Context(), o); !Final(err) || !strings.Contains(err.Error(), "the same in two") {
		t.Errorf("went on: %v", err)
	}

	set := vaulted.Start(t)
	secret, field, _ := strings.Cut(strings.TrimPrefix(vaulted.Reference, "vault://"), "#")
	kept := regexp.MustCompile(`"password": \{[^}]*\}`)
	fields = kept.ReplaceAllString(fields, fmt.Sprintf(`"password": {"$$vault": "%s#%s"}`, secret, field))
	port := regexp.MustCompile(`"port": \d+`)
	for _, password := range vaulted.Hostile() {
		set(password)
		for what, p := range map[string]*Pipeline{
			"wrong password": fromTable(t, fields, `, "query": "SELECT 1 AS id"`),
			"no server":      fromTable(t, port.ReplaceAllString(fields, `"port": 1`), `, "query": "SELECT 1 AS id"`),
			"no field":       fromTable(t, strings.Replace(fields, "#"+field, "#none", 1), `, "query": "SELECT 1 AS id"`),
		} {
			_, err := p.Run(t.Context(), options(t))
			if err == nil || strings.Contains(err.Error(), password) || strings.Contains(err.Error(), "'weir'") ||
				what == "wrong password" && !Final(err) {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	set("weir-test")
	if _, err := fromTable(t, fields, `, "query": "SELECT 1 AS id"`).Run(t.Context(), options(t)); err != nil {
		t.Error(err)
	}
}

// Over TLS, the server is who it says.
func TestMySQL_TLS(t *testing.T) {
	_, fields := mysqlDB(t)
	ca := require.Env(t, "WEIR_TEST_MYSQL_CA")
	for mode, right := range map[string]bool{
		fmt.Sprintf(`"sslmode": "verify-full", "ca": %q`, ca):                        true,
		fmt.Sprintf(`"sslmode": "verify-ca", "ca": %q`, ca):                          true,
		`"sslmode": "require"`:                                                       true,
		`"sslmode": "verify-full"`:                                                   false,
		`"sslmode": "verify-ca"`:                                                     false,
		fmt.Sprintf(`"host": "localhost", "sslmode": "verify-full", "ca": %q`, ca):   false,
		fmt.Sprintf(`"host": "localhost", "sslmode": "verify-ca", "ca": %q`, ca):     true,
		fmt.Sprintf(`"sslmode": "verify-full", "ca": %q`, filepath.Join(ca, "none")): false,
	} {
		f := strings.Replace(fields, `"sslmode": "disable"`, mode, 1)
		if strings.Contains(mode, "localhost") {
			f = strings.Replace(f, `"host": "127.0.0.1", `, "", 1)
		}
		p := fromTable(t, f, `, "query": "SELECT VARIABLE_VALUE AS cipher FROM information_schema.SESSION_STATUS `+
			`WHERE VARIABLE_NAME = 'Ssl_cipher'"`)
		_, err := p.Run(t.Context(), options(t))
		if (err == nil) != right || right && len(contents(t, p)["x.csv"]) < len("cipher\nTLS\n") {
			t.Errorf("%s: %v, %q", mode, err, contents(t, p)["x.csv"])
		}
	}
}

// pausing is a source that waits behind some rows.
type pausing struct {
	source
	after int
	pause func()
}

type pausingReading struct {
	reading
	p *pausing
}

func (p *pausing) open(ctx context.Context) (reading, error) {
	in, err := p.source.open(ctx)
	return pausingReading{in, p}, err
}

func (p pausingReading) next() (row, string, error) {
	if p.p.after--; p.p.after == 0 {
		p.p.pause()
	}
	return p.reading.next()
}

// connections are the ids of those that weir has to the server.
func connections(t *testing.T, db *sql.DB, where string) (ids []int) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "SELECT ID FROM information_schema.PROCESSLIST WHERE USER = 'weir' AND "+
		"ID <> CONNECTION_ID() AND DB = 'weir_test' AND "+where)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id int
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}

// A reader has its snapshot, whatever others do to the table meanwhile; one whose
// connection is killed goes on behind its key.
func TestMySQL_ATableThatIsDroppedOrAReaderThatIsKilled(t *testing.T) {
	db, fields := mysqlDB(t)
	emptyDatabase(t, db)
	const rows = 4000 // of 5000 bytes: more than all buffers on the way
	make := func() {
		onMySQL(t, db, fmt.Sprintf(`DROP TABLE IF EXISTS etl_sink.t; CREATE TABLE etl_sink.t (id int PRIMARY KEY, x varchar(5000));
			INSERT INTO etl_sink.t SELECT seq, repeat('x', 5000) FROM seq_1_to_%d`, rows))
	}
	make()
	p := fromTable(t, fields, `, "table": "etl_sink.t", "key": "id"`)
	p.block = 500
	dropped := errors.New("not yet")
	p.source = &pausing{p.source, 1200, func() {
		onMySQL(t, db, "INSERT INTO etl_sink.t VALUES (-1, 'new'), (4001, 'new'); DELETE FROM etl_sink.t WHERE id = 3500")
		_, dropped = db.ExecContext(t.Context(), "SET lock_wait_timeout = 1; DROP TABLE etl_sink.t")
	}}
	r, err := p.Run(t.Context(), options(t))
	if err != nil || r.Counts.Read != rows || dropped == nil || strings.Contains(contents(t, p)["x.csv"], "new") {
		t.Errorf("%v, %+v; dropping it: %v", err, r, dropped)
	}

	make()
	p, o := fromTable(t, fields, `, "table": "etl_sink.t", "key": "id"`), options(t)
	p.block, o.Tries = 500, 2
	killed := 0
	p.source = &pausing{p.source, 1200, func() {
		for _, id := range connections(t, db, "COMMAND <> 'Killed'") {
			onMySQL(t, db, "KILL "+strconv.Itoa(id))
			killed++
		}
	}}
	on := false
	o.Tell = func(line string) { on = on || strings.HasPrefix(line, "going on with run") }
	if r, err = p.Run(t.Context(), o); err != nil || killed != 1 || !on || r.Counts.Read != rows {
		t.Errorf("%v, %+v, %d killed, went on: %t", err, r, killed, on)
	}

	make()
	p, o = fromTable(t, fields, `, "table": "etl_sink.t", "key": "id"`), options(t)
	n := 2
	p.block, p.source = 1, breaking{p.source, &n, errors.New("the cable is out")}
	if _, err := p.Run(t.Context(), o); err == nil {
		t.Fatal("it did not break")
	}
	onMySQL(t, db, "DROP TABLE etl_sink.t")
	if _, err := p.Run(t.Context(), o); !Final(err) || !strings.Contains(err.Error(), "etl_sink.t' doesn't exist") {
		t.Errorf("the table is gone: %v", err)
	}
}

// door hands connections on to a server, until it is shut.
type door struct {
	net.Listener
	to string
}

func newDoor(t *testing.T, to string) *door {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &door{l, to}
	t.Cleanup(func() { _ = l.Close() })
	return d
}

// A server that is gone is waited for, and what was lost meanwhile comes once.
func TestMySQL_AServerThatIsGoneIsTriedAgain(t *testing.T) {
	db, fields := mysqlDB(t)
	emptyDatabase(t, db)
	at := regexp.MustCompile(`"port": (\d+)`)
	d := newDoor(t, "127.0.0.1:"+at.FindStringSubmatch(fields)[1])
	_, port, _ := net.SplitHostPort(d.Addr().String())
	_ = d.Close() // nobody listens
	p := tabled(t, at.ReplaceAllString(fields, `"port": `+port), "p", `"mode": "append"`, numberedRows(1, 8))
	o, tries := options(t), 0
	o.Tries, o.Pause = 3, time.Millisecond
	o.Tell = func(line string) {
		if strings.HasPrefix(line, "try ") {
			tries++
		}
	}
	if _, err := p.Run(t.Context(), o); err == nil || Final(err) || tries != 2 ||
		!strings.Contains(err.Error(), "connecting to MySQL 127.0.0.1") {
		t.Errorf("%v after %d tries", err, tries)
	}
}
