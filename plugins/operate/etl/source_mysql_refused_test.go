package etl

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// A change of the columns stops the stream before anything of it is written, by the
// names of what is otherwise; what is new comes by the option.
func TestMySQLChanges_ColumnsThatChange(t *testing.T) {
	f := track(t, "id bigint PRIMARY KEY, v text")
	f.exec("INSERT INTO etl_sink.t VALUES (1, 'a')")
	dir, o := t.TempDir(), options(t)
	p, adding := f.stream(dir, allFacts, toFolder), f.stream(dir, allFacts+`, "changes": "additions"`, toFolder)
	streams(t, p, o)
	f.exec("INSERT INTO etl_sink.t VALUES (2, 'b')", "ALTER TABLE etl_sink.t ADD COLUMN w int FIRST",
		"INSERT INTO etl_sink.t VALUES (7, 3, 'c')")
	fails(t, p, o, `column "w" (int32) is new`)
	streams(t, adding, o)
	// while it goes on
	ctx, stop := context.WithCancel(t.Context())
	o.Watch = func(now Progress) {
		switch now.Counts.Read {
		case 3:
			f.exec("INSERT INTO etl_sink.t VALUES (8, 4, 'd')", "ALTER TABLE etl_sink.t ADD COLUMN x text",
				"INSERT INTO etl_sink.t VALUES (9, 5, 'e', 'new')")
		case 5:
			stop()
		}
	}
	if _, err := adding.Stream(ctx, o); err != nil {
		t.Fatal(err)
	}
	o.Watch = nil
	var got []string
	for _, one := range foundIn(t, dir, "all") {
		got = append(got, fmt.Sprintf("%v %v %v %v", one["id"], one["v"], one["w"], one["x"]))
	}
	if want := []string{"1 a <nil> <nil>", "2 b <nil> <nil>", "3 c 7 <nil>", "4 d 8 <nil>",
		"5 e 9 new"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	f.exec("INSERT INTO etl_sink.t VALUES (10, 6, 'f', 'x')", "ALTER TABLE etl_sink.t DROP COLUMN x, MODIFY w bigint",
		"INSERT INTO etl_sink.t VALUES (11, 7, 'g')")
	before := len(foundIn(t, dir, "all"))
	fails(t, adding, o, `column "w" was int32 and is int64; column "x" (text) is gone`)
	if n := len(foundIn(t, dir, "all")); n != before {
		t.Errorf("%d rows came with columns that had changed", n-before)
	}
	o.Accept = true
	streams(t, adding, o)
	o.Accept = false
	f.exec("DELETE FROM etl_sink.t WHERE id = 7")
	if r := streams(t, adding, o); r.Counts.Read != 8 {
		t.Errorf("%+v", r.Counts)
	}
}

// What a server does not log as it is to be is told before anything is read, and what
// to do.
func TestMySQLChanges_WhatAServerMustLog(t *testing.T) {
	f := track(t, "id bigint PRIMARY KEY, v text")
	dir, o := t.TempDir(), options(t)
	p := f.stream(dir, allFacts, toFolder)
	for _, c := range [][3]string{
		{"binlog_format", "MIXED", `the server logs statements (binlog_format is "MIXED"): SET GLOBAL binlog_format = ROW`},
		{"binlog_row_image", "MINIMAL", `does not log all columns (binlog_row_image is "MINIMAL")`},
		{"binlog_row_metadata", "MINIMAL", `does not log the names of columns (binlog_row_metadata is "MINIMAL")`},
	} {
		was := oneOfMySQL(t, f.db, "SELECT @@global."+c[0])
		f.exec("SET GLOBAL " + c[0] + " = " + c[1])
		fails(t, p, o, c[2])
		f.exec("SET GLOBAL " + c[0] + " = " + was)
	}
	if err := (mysqlSettings{"log_bin": "OFF"}).logs(7); err == nil || !strings.Contains(err.Error(),
		"keeps no log of changes") {
		t.Error(err)
	}
	fails(t, f.stream(dir, allFacts+`, "server_id": `+oneOfMySQL(t, f.db, "SELECT @@server_id"), toFolder), o,
		"the server itself has the server_id")
	// who may not
	f.exec("CREATE OR REPLACE USER etl_reader@'127.0.0.1' IDENTIFIED BY 'weir-test'; GRANT SELECT ON etl_sink.t TO " +
		"etl_reader@'127.0.0.1'; " +
		"GRANT SELECT ON weir_test.* TO etl_reader@'127.0.0.1'")
	t.Cleanup(func() { _, _ = f.db.ExecContext(context.Background(), "DROP USER etl_reader@'127.0.0.1'") })
	reader := f
	reader.fields = strings.Replace(f.fields, `"user": "weir"`, `"user": "etl_reader"`, 1)
	mayNot := reader.stream(dir, allFacts, toFolder)
	const rights = "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO …"
	fails(t, mayNot, o, rights)
	f.exec("GRANT REPLICATION CLIENT ON *.* TO etl_reader@'127.0.0.1'")
	fails(t, mayNot, o, rights)
	f.exec("GRANT REPLICATION SLAVE ON *.* TO etl_reader@'127.0.0.1'")
	streams(t, mayNot, o)
	in, err := mayNot.source.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	in.close()
}

// What a stream cannot follow of a table ends it by its name, and says what to do.
func TestMySQLChanges_WhatCannotBeFollowedIsNamed(t *testing.T) {
	f := track(t, "id bigint PRIMARY KEY, v text")
	dir, o := t.TempDir(), options(t)
	p := f.stream(dir, allFacts, toFolder)
	for _, c := range [][2]string{
		{"v text CHARACTER SET utf16", `column "v": the log has it in utf16`},
		{"id int) ENGINE = MyISAM COMMENT '' AS (SELECT 1 AS id", "is one of MyISAM, which has no snapshots"},
		{"id int) WITH SYSTEM VERSIONING AS (SELECT 1 AS id", "is a system versioned"},
		{"v varchar(9) COMPRESSED", `column "v": the log has it in a form that is not read`},
		{"id int PRIMARY KEY, of bigint, FOREIGN KEY (of) REFERENCES etl_sink.t (id) ON DELETE CASCADE",
			"the foreign key t_ibfk_1 of table"},
		{"op int", `the table has a column "op"`},
	} {
		if strings.Contains(c[0], "FOREIGN") {
			f.exec("CREATE TABLE etl_sink.parent (id bigint PRIMARY KEY)")
			c[0] = strings.Replace(c[0], "etl_sink.t", "etl_sink.parent", 1)
		}
		f.exec("DROP TABLE etl_sink.t", "CREATE TABLE etl_sink.t ("+c[0]+")")
		fails(t, p, o, c[1])
	}
	f.exec("DROP TABLE etl_sink.t")
	fails(t, p, o, "there is no table etl_sink.t")
	fresh := func(columns string) (*Pipeline, Options) {
		f.exec("DROP TABLE IF EXISTS etl_sink.t, etl_sink.merged, etl_sink._weir_etl_positions",
			"CREATE TABLE etl_sink.t ("+columns+")", "INSERT INTO etl_sink.t (id) VALUES (1)")
		o := options(t)
		p := f.stream(t.TempDir(), "", toFolderMerged(f))
		streams(t, p, o)
		return p, o
	}
	for _, c := range [][2]string{
		{"TRUNCATE etl_sink.t", "was emptied by TRUNCATE"},
		{"DROP TABLE etl_sink.t; CREATE TABLE etl_sink.t (id bigint PRIMARY KEY, v text)",
			"it was dropped, made anew, or given another name"},
		{"RENAME TABLE etl_sink.t TO etl_sink.u, etl_sink.u TO etl_sink.t",
			"it was dropped, made anew, or given another name"},
		{"ALTER TABLE etl_sink.t PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (5), PARTITION p1 VALUES LESS " +
			"THAN MAXVALUE); " +
			"ALTER TABLE etl_sink.t DROP PARTITION p0", "rows of it came or went with a partition"},
		{"SET SESSION binlog_format = STATEMENT; INSERT INTO etl_sink.t VALUES (5, 'x'); SET SESSION binlog_format = ROW",
			"a statement has changed rows, and the log has it instead of them"},
		{"SET SESSION binlog_row_image = MINIMAL; UPDATE etl_sink.t SET v = 'x'; SET SESSION binlog_row_image = FULL",
			`column "id": the log does not have it`},
		{"XA START 'x'; INSERT INTO etl_sink.t VALUES (6, 'x'); XA END 'x'; XA PREPARE 'x'; XA COMMIT 'x'", "(XA)"},
	} {
		p, o := fresh("id bigint PRIMARY KEY, v text")
		f.exec(c[0])
		fails(t, p, o, c[1])
	}
	// of others, nothing
	p, o = fresh("id bigint PRIMARY KEY, v text")
	f.exec("CREATE TABLE etl_sink.other (id int); CREATE TEMPORARY TABLE etl_sink.t (id int); DROP TEMPORARY TABLE " +
		"etl_sink.t; " +
		"TRUNCATE etl_sink.other; DROP TABLE etl_sink.other; CREATE INDEX i ON etl_sink.t (v(5)); ANALYZE TABLE " +
		"etl_sink.t; " +
		"XA START 'x'; INSERT INTO etl_sink.t VALUES (2, 'b'); XA END 'x'; XA COMMIT 'x' ONE PHASE; " +
		"XA START 'y'; INSERT INTO etl_sink.t VALUES (3, 'c'); XA END 'y'; XA ROLLBACK 'y'")
	streams(t, p, o)
	if got, want := f.rows("SELECT id, COALESCE(v, '') FROM etl_sink.merged"),
		f.rows("SELECT id, COALESCE(v, '') FROM etl_sink.t"); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	// a transaction that is too large
	f.exec("INSERT INTO etl_sink.t SELECT seq, repeat('y', 1000) FROM seq_10_to_2000")
	fails(t, f.stream(dir, "", toFolderMerged(f)+`, "memory_mib": 1`), o, "it needs more than 1 MiB, and is taken whole: raise memory_mib")
	streams(t, p, o)
	// a log that has not what a sink lacks
	for _, c := range [][2]string{
		{"1", "the server has removed the files of its log before 0000"},
		{"next + 4294967296 * 100", "the log was begun anew (RESET MASTER), or lost its end"},
		{"next + 4000000000", "the log was begun anew (RESET MASTER), or lost its end"},
	} {
		was := oneOfMySQL(t, f.db, "SELECT next FROM etl_sink._weir_etl_positions")
		f.exec("UPDATE etl_sink._weir_etl_positions SET next = " + c[0])
		fails(t, p, o, c[1])
		f.exec("UPDATE etl_sink._weir_etl_positions SET next = " + was)
	}
	emptying := f.stream(dir, `, "truncate": "apply"`, toFolderMerged(f))
	f.exec("TRUNCATE TABLE etl_sink.t", "INSERT INTO etl_sink.t VALUES (7, 'g')")
	streams(t, emptying, o)
	if got := f.rows("SELECT id, v FROM etl_sink.merged"); !maps.Equal(got, map[string]string{"7": "g"}) {
		t.Error(got)
	}
}

func TestMySQLChanges_WhatThePipelineCannotIsNamed(t *testing.T) {
	right := strings.Replace(changing, `"type": "postgres"`, `"type": "mysql"`, 1)
	right = strings.Replace(right, `"slot": "s", "publication": "p", `, `"server_id": 7, "password": {"$file": "/p"}, `, 1)
	for _, c := range [][3]string{
		{`"server_id": 7`, `"server_id": 0`, "/source/server_id"},
		{`"operation": "op", `, ``, "/sinks/0: it keeps all changes, and none says what it is"},
		{`"table": "t"`, `"table": "t", "key": "id"`, "/source/key: a stream reads the changes of a whole table"},
		{`"table": "t"`, `"table": "t", "slot": "s"`, "/source/slot"},
		{`"mode": "stream", `, ``, "/source/server_id"},
	} {
		_, err := loaded(t, map[string]string{"p.json": strings.Replace(right, c[0], c[1], 1)})
		if err == nil || !strings.Contains(err.Error(), c[2]) {
			t.Errorf("%s: %v", c[1], err)
		}
	}
	if _, err := loaded(t, map[string]string{"p.json": right}); err != nil {
		t.Error(err)
	}
}

func TestMySQLStatement_WhatItIsToATable(t *testing.T) {
	of := tableName{"shop", "t", false}
	for sql, want := range map[string]statement{
		"TRUNCATE t":                                                     stmtEmptied,
		"/* x */ truncate TABLE `shop` . `t`":                            stmtEmptied,
		"TRUNCATE TABLE other.t":                                         stmtNothing,
		"TRUNCATE T":                                                     stmtNothing,
		"DROP TABLE IF EXISTS `a`,`t` /* generated */":                   stmtGone,
		"DROP TABLE `tt`":                                                stmtNothing,
		"DROP TEMPORARY TABLE t":                                         stmtNothing,
		"DROP /*!40005 TEMPORARY */ TABLE IF EXISTS `t`":                 stmtNothing,
		"DROP DATABASE shop":                                             stmtGone,
		"DROP SCHEMA IF EXISTS other":                                    stmtNothing,
		"DROP INDEX i ON t":                                              stmtNothing,
		"CREATE OR REPLACE TABLE t (a int)":                              stmtGone,
		"CREATE TABLE u LIKE t":                                          stmtNothing,
		"CREATE TABLE u AS SELECT * FROM t":                              stmtNothing,
		"CREATE TEMPORARY TABLE t (a int)":                               stmtNothing,
		"CREATE TRIGGER x AFTER INSERT ON t FOR EACH ROW":                stmtNothing,
		"RENAME TABLE a TO b, b TO t":                                    stmtGone,
		"ALTER TABLE t RENAME u":                                         stmtGone,
		"ALTER TABLE t ADD COLUMN x int, RENAME TO u":                    stmtGone,
		"ALTER TABLE t RENAME COLUMN a TO b":                             stmtNothing,
		"ALTER TABLE t RENAME INDEX a TO b":                              stmtNothing,
		"ALTER TABLE t COMMENT 'rename it; drop partition'":              stmtNothing,
		"ALTER TABLE t ADD `drop` int, ADD `partition` int":              stmtNothing,
		"ALTER ONLINE TABLE IF EXISTS shop.t DROP PARTITION p":           stmtUnlogged,
		"ALTER TABLE t -- why\n TRUNCATE PARTITION p":                    stmtUnlogged,
		"ALTER TABLE t EXCHANGE PARTITION p WITH TABLE u":                stmtUnlogged,
		"ALTER TABLE u EXCHANGE PARTITION p WITH TABLE t":                stmtUnlogged,
		"ALTER TABLE t IMPORT TABLESPACE":                                stmtUnlogged,
		"ALTER TABLE t ADD PARTITION (PARTITION p VALUES LESS THAN (1))": stmtNothing,
		"ALTER TABLE u DROP PARTITION p":                                 stmtNothing,
		"INSERT INTO t VALUES (1)":                                       stmtRows,
		"UPDATE u, shop.t SET a = 1":                                     stmtRows,
		"DELETE FROM u WHERE a = 't'":                                    stmtNothing,
		"CREATE USER t":                                                  stmtNothing,
		"":                                                               stmtNothing,
		"/*":                                                             stmtNothing,
		"ALTER TABLE":                                                    stmtNothing,
		"DROP":                                                           stmtNothing,
	} {
		if got := of.of(sql, "shop"); got != want {
			t.Errorf("%s: %d, want %d", sql, got, want)
		}
	}
	if got := (tableName{"shop", "t", true}).of("TRUNCATE Shop.T", ""); got != stmtEmptied {
		t.Error(got)
	}
}

// No statement ends the stream's process.
func FuzzMySQLStatement(f *testing.F) {
	for _, one := range []string{"DROP TABLE `a`.`t", "/*!40000 ALTER*/ TABLE", "'\\", "\"", "--\n", "#", "a.b.",
		"ALTER TABLE t."} {
		f.Add(one)
	}
	f.Fuzz(func(_ *testing.T, sql string) { (tableName{"shop", "t", true}).of(sql, "shop") })
}

func TestMySQLRow_UUIDsAreThoseThatWereGiven(t *testing.T) {
	for stored, want := range map[string]string{
		"\x01\x97\xb2\xf4\x5d\x0e\x7c\x3a\x9f\x1e\x3b\x5a\x7c\x9d\x1e\x2f": "0197b2f4-5d0e-7c3a-9f1e-3b5a7c9d1e2f",
		"\x00\xc0\x4f\xd4\x30\xc8\x80\xb4\x11\xd1\x9d\xad\x6b\xa7\xb8\x10": "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
		strings.Repeat("\x00", 16): "00000000-0000-0000-0000-000000000000",
		strings.Repeat("\xff", 16): "ffffffff-ffff-ffff-ffff-ffffffffffff",
	} {
		if got, err := uuidText([]byte(stored)); err != nil || string(got) != want {
			t.Errorf("%s %v, want %s", got, err, want)
		}
	}
	if _, err := uuidText([]byte("short")); err == nil {
		t.Error("there is a uuid of five bytes")
	}
}

func TestMySQLRow_Latin1IsThatOfMySQL(t *testing.T) {
	if got := string(fromCharset("latin1", []byte("a\x80\x81\x9f\xa0\xe9\xff"))); got != "a€\u0081Ÿ\u00a0éÿ" {
		t.Errorf("%q", got)
	}
}
