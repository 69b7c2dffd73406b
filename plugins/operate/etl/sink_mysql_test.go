package etl

import (
	"context"
	"database/sql"
	"strings"
	"testing"
	"time"
)

// A table that would round, cut or lack something is refused by the column, and
// stays as it was.
func TestMySQL_WhatATableDoesNotHoldIsRefusedByName(t *testing.T) {
	db, fields := mysqlDB(t)
	emptyDatabase(t, db)
	onMySQL(t, db, "CREATE TABLE etl_sink.of (id varchar(9) PRIMARY KEY) CHARACTER SET utf8mb4")
	long := []row{{{text: "1"}, {text: "löng"}}}
	o := options(t)
	o.Fresh = true
	for table, says := range map[string]string{
		"id int, x text, more int":                                     "",
		"id bigint, x varchar(4)":                                      "",
		"ID bigint, X longtext":                                        "",
		"id int auto_increment primary key, x mediumtext":              "",
		"id smallint, x text":                                          `column "id": table etl_sink.t has it as a type that does not hold every int32: int does`,
		"id bigint unsigned, x text":                                   `column "id"`,
		"id double, x text":                                            `column "id"`,
		"id int, x varchar(3)":                                         `column "x": a text is longer than the 3 characters that the table takes`,
		"id int, x varchar(99) CHARACTER SET latin1":                   `column "x"`,
		"id int, x char(9)":                                            `column "x"`,
		"id int, x json":                                               `column "x"`,
		"id int, x text AS ('a') VIRTUAL":                              `column "x"`,
		"id int":                                                       `column "x": table etl_sink.t has none of that name`,
		"id int, x text, more int NOT NULL":                            `'more' doesn't have a default value (error 1364)`,
		"id int, x text CHECK (length(x) < 3)":                         "error 4025",
		"id int, x varchar(9) REFERENCES etl_sink.of (id)":             "error 1452",
		"id int PRIMARY KEY CHECK (id > 1), x text":                    "error 4025",
		"id int, x text) ENGINE=MyISAM -- ":                            "none of an engine with transactions",
		"id int, x text, y int GENERATED ALWAYS AS (id) STORED UNIQUE": "",
	} {
		onMySQL(t, db, "DROP TABLE IF EXISTS etl_sink.t")
		onMySQL(t, db, "CREATE TABLE etl_sink.t ("+table+")")
		_, err := tabled(t, fields, "p", `"mode": "append"`, long).Run(t.Context(), o)
		if says == "" && err != nil || says != "" && (!Final(err) || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s: %v", table, err)
		}
		if n := oneOfMySQL(t, db, "SELECT count(*) FROM etl_sink.t"); (n == "1") != (says == "") {
			t.Errorf("%s: it has %s rows", table, n)
		}
	}
	for says, rows := range map[string][]row{
		`column "x": a value has more than the `: {{{text: "1"}, {text: strings.Repeat("x", 17<<20)}}},
		`column "id": it is null in a row`:       {{{null: true}, {text: "x"}}},
	} {
		onMySQL(t, db, "DROP TABLE IF EXISTS etl_sink.t; "+
			"CREATE TABLE etl_sink.t (id int AUTO_INCREMENT PRIMARY KEY, x longtext)")
		_, err := tabled(t, fields, "p", `"mode": "append"`, rows).Run(t.Context(), o)
		if !Final(err) || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %s", err, says)
		}
	}
	// what a server of its own would count on, or cut, is as it was
	rows := []row{{{text: "0"}, {text: strings.Repeat("é", 5<<20)}}, {{text: "-1"}, {text: "a\x00b \\ ' \" ` \r\n\x1a"}}}
	p := tabled(t, fields, "p", `"mode": "append"`, rows)
	runs(t, p, o)
	if got, want := oneOfMySQL(t, db, "SELECT GROUP_CONCAT(id, ' ', char_length(x), ' ', hex(left(x, 15)) "+
		"ORDER BY id) FROM etl_sink.t"),
		"-1 15 610062205C202720222060200D0A1A,0 5242880 "+strings.Repeat("C3A9", 15); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// What MySQL has no value for is refused by the column: the first instant behind 2038,
// floats that are no numbers, names that are one to it.
func TestMySQL_WhatItHasNoValueForIsRefusedByName(t *testing.T) {
	db, fields := mysqlDB(t)
	emptyDatabase(t, db)
	for _, c := range [][3]string{
		{"timestamptz", "2038-01-19T03:14:08Z", `column "x": MySQL keeps no instant`},
		{"timestamptz", "1970-01-01T00:00:00.5Z", `column "x": MySQL keeps no instant`},
		{"timestamptz", "2038-01-19T03:14:07.999999Z", ""},
		{"timestamp", "2038-01-19T03:14:08", ""},
		{"float64", "NaN", `column "x": MySQL keeps no float`},
		{"float32", "-Infinity", `column "x": MySQL keeps no float`},
		{"decimal(38,38)", "0.00000000000000000000000000000000000001", ""},
	} {
		onMySQL(t, db, "DROP TABLE IF EXISTS etl_sink.t")
		p := tabled(t, fields, "p", `"mode": "replace"`, nil)
		of, err := parseType(c[0])
		if err != nil {
			t.Fatal(err)
		}
		p.source = mockSource{[]column{{"x", of}}, []row{{{text: c[1]}}}}
		o := options(t)
		o.Fresh = true
		_, err = p.Run(t.Context(), o)
		if (err == nil) != (c[2] == "") || err != nil && (!Final(err) || !strings.Contains(err.Error(), c[2])) {
			t.Errorf("%v: %v", c, err)
		}
	}
	for _, names := range [][]string{{"a", "A"}, {strings.Repeat("é", 65)}, {"a "}} {
		p := tabled(t, fields, "p", `"mode": "replace"`, nil)
		var columns []column
		for _, name := range names {
			columns = append(columns, column{name, columnType{kind: kindText}})
		}
		p.source = mockSource{columns, nil}
		if _, err := p.Run(t.Context(), options(t)); !Final(err) || !strings.Contains(err.Error(), "rename") {
			t.Errorf("%q: %v", names, err)
		}
	}
}

// A merge takes no row for another because a second index has it, and one that the
// table's collation takes for the same is the same.
func TestMySQL_MergesByNoOtherIndex(t *testing.T) {
	db, fields := mysqlDB(t)
	emptyDatabase(t, db)
	onMySQL(t, db, `CREATE TABLE etl_sink.t (id int PRIMARY KEY, x varchar(20) UNIQUE) CHARACTER SET utf8mb4;
		INSERT INTO etl_sink.t VALUES (1, 'one'), (2, 'two')`)
	o := options(t)
	p := tabled(t, fields, "p", `"mode": "merge", "key": ["id"]`, []row{{{text: "3"}, {text: "one"}}})
	if _, err := p.Run(t.Context(), o); !Final(err) ||
		!strings.Contains(err.Error(), "in the unique index x (error 1062)") {
		t.Error(err)
	}
	if got := oneOfMySQL(t, db, "SELECT GROUP_CONCAT(id, x ORDER BY id) FROM etl_sink.t"); got != "1one,2two" {
		t.Error(got)
	}
	o.Fresh = true
	p = tabled(t, fields, "p", `"mode": "merge", "key": ["x"]`, []row{{{text: "7"}, {text: "ONE"}}, {{text: "8"}, {text: "new"}}})
	runs(t, p, o)
	if got := oneOfMySQL(t, db, "SELECT GROUP_CONCAT(id, x ORDER BY id) FROM etl_sink.t"); got != "2two,7ONE,8new" {
		t.Error(got)
	}
	p = tabled(t, fields, "p", `"mode": "merge", "key": ["x"]`, []row{{{text: "7"}, {text: "a"}}, {{text: "8"}, {text: "A"}}})
	if _, err := p.Run(t.Context(), o); !Final(err) || !strings.Contains(err.Error(), "have the same x: dedupe") {
		t.Error(err)
	}
}

// until waits for something to be so in the server. INNODB_TRX is what it was until
// nobody has asked for it for a tenth of a second.
func until(t *testing.T, db *sql.DB, query string) {
	t.Helper()
	for range 200 {
		if oneOfMySQL(t, db, query) == "1" {
			return
		}
		time.Sleep(150 * time.Millisecond)
	}
	t.Fatalf("never: %s", query)
}

// A run that the server chooses as the victim of a deadlock, and one whose connection
// is killed in the middle of its transaction, comes all the same, and once.
func TestMySQL_ADeadlockOrAKillBringsTheRunOnce(t *testing.T) {
	db, fields := mysqlDB(t)
	emptyDatabase(t, db)
	other, _ := mysqlDB(t)
	onMySQL(t, db, `CREATE TABLE etl_sink.t (id int PRIMARY KEY, x longtext) CHARACTER SET utf8mb4;
		INSERT INTO etl_sink.t SELECT seq, 'old' FROM seq_1_to_2000`)
	const waiting = "SELECT count(*) FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT'"
	ended := make(chan error, 1)
	run := func(name string, o Options) {
		p := tabled(t, fields, name, `"mode": "merge", "key": ["id"]`, numberedRows(1, 10))
		go func() {
			_, err := p.Run(context.Background(), o)
			ended <- err
		}()
	}
	// it has changed more rows, and is not the one that is given up
	onMySQL(t, other, "START TRANSACTION; UPDATE etl_sink.t SET x = 'locked' WHERE id > 9 AND id < 1500")
	run("a", options(t))
	until(t, db, waiting)
	onMySQL(t, other, "UPDATE etl_sink.t SET x = 'locked' WHERE id = 1; COMMIT")
	if err := <-ended; err != nil {
		t.Errorf("the victim of a deadlock: %v", err)
	}
	onMySQL(t, other, "START TRANSACTION; UPDATE etl_sink.t SET x = 'locked' WHERE id = 9")
	o := options(t)
	o.Tries = 2
	run("b", o)
	until(t, db, waiting)
	time.Sleep(150 * time.Millisecond)
	id := oneOfMySQL(t, db, "SELECT trx_mysql_thread_id FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT'")
	onMySQL(t, db, "KILL "+id)
	onMySQL(t, other, "ROLLBACK")
	if err := <-ended; err != nil {
		t.Errorf("one that was killed: %v", err)
	}
	if got := oneOfMySQL(t, db, "SELECT GROUP_CONCAT(x ORDER BY id SEPARATOR ' ') FROM etl_sink.t WHERE id < 13"); got !=
		"row 1 row 2 row 3 row 4 row 5 row 6 row 7 row 8 row 9 row 10 locked locked" {
		t.Error(got)
	}
	if got := oneOfMySQL(t, db, "SELECT GROUP_CONCAT(pipeline, `rows` ORDER BY pipeline) "+
		"FROM etl_sink._weir_etl_loads"); got != "a10,b10" {
		t.Error(got)
	}
}
