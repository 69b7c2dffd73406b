package scenarios

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"

	"weir/tests/integration/require"
)

// changing is a database server whose table etl_tortured.t is written to while a stream follows its changes.
type changing struct {
	kind   string
	source string // more fields of the source
	at     *url.URL
	do     func(sql string)
	upsert string // the clause after an INSERT whose key may exist
	differ func() int
}

// A stream that follows the changes of a table is killed at any moment while the table is written to. In the end the
// merged sink equals the table, and the sink that keeps all changes has each of them once.
func TestETL_TortureOfChangesLeavesTheTableAsItIs(t *testing.T) {
	t.Parallel()
	t.Run("postgres", func(t *testing.T) { tortureChanges(t, changingPostgres(t)) })
	t.Run("mysql", func(t *testing.T) { tortureChanges(t, changingMySQL(t)) })
}

const differing = "SELECT (SELECT count(*) FROM (SELECT * FROM etl_tortured.t EXCEPT SELECT id, v FROM " +
	"etl_tortured.merged) a) + " +
	"(SELECT count(*) FROM (SELECT id, v FROM etl_tortured.merged EXCEPT SELECT * FROM etl_tortured.t) b)"

func changingPostgres(t *testing.T) changing {
	t.Helper()
	at := mustParse(t, require.Env(t, "WEIR_TEST_POSTGRES_URL"))
	conn, err := pgx.Connect(t.Context(), at.String())
	if err != nil {
		t.Fatal(err)
	}
	do := func(sql string) {
		t.Helper()
		if _, err := conn.Exec(context.Background(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	forget := func() {
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-time.After(100 * time.Millisecond) {
			if _, err := conn.Exec(context.Background(), "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "+
				"WHERE slot_name = 'weir_etl_tortured'"); err == nil {
				break // the slot stays active until the server notices the dead reader
			}
		}
		do("DROP PUBLICATION IF EXISTS weir_etl_tortured; DROP SCHEMA IF EXISTS etl_tortured CASCADE")
	}
	forget()
	t.Cleanup(func() {
		forget()
		_ = conn.Close(context.Background())
	})
	do("CREATE SCHEMA etl_tortured; CREATE TABLE etl_tortured.t (id bigint PRIMARY KEY, v bigint); " +
		"INSERT INTO etl_tortured.t SELECT i, 0 FROM generate_series(1, 200) i")
	return changing{"postgres", "", at, do, "ON CONFLICT (id) DO UPDATE SET v = excluded.v", func() (n int) {
		if err := conn.QueryRow(t.Context(), differing).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}}
}

func changingMySQL(t *testing.T) changing {
	t.Helper()
	at := mustParse(t, require.Env(t, "WEIR_TEST_MYSQL_URL"))
	conf := mysql.NewConfig()
	conf.User, conf.Net, conf.Addr, conf.DBName, conf.MultiStatements = at.User.Username(), "tcp", at.Host, at.Path[1:],
		true
	conf.Passwd, _ = at.User.Password()
	connector, err := mysql.NewConnector(conf)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	do := func(sql string) {
		t.Helper()
		if _, err := db.ExecContext(context.Background(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	t.Cleanup(func() {
		do("DROP DATABASE IF EXISTS etl_tortured")
		_ = db.Close()
	})
	do("DROP DATABASE IF EXISTS etl_tortured; CREATE DATABASE etl_tortured; CREATE TABLE etl_tortured.t (id bigint " +
		"PRIMARY KEY, v bigint); " +
		"INSERT INTO etl_tortured.t SELECT seq, 0 FROM seq_1_to_200")
	return changing{"mysql", `, "password": {"$file": "password"}`, at, do, "ON DUPLICATE KEY UPDATE v = VALUES(v)", func() (n int) {
		if err := db.QueryRowContext(t.Context(), differing).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}}
}

func tortureChanges(t *testing.T, c changing) {
	s, do, at := newSystem(t), c.do, c.at
	kills, seed := fromEnv(t, "WEIR_TORTURE_KILLS", 3), fromEnv(t, "WEIR_TORTURE_SEED", time.Now().UnixNano()%1e9)
	t.Logf("%d kills, WEIR_TORTURE_SEED=%d", kills, seed)
	chance := rand.New(rand.NewPCG(uint64(seed), 0))
	password, _ := at.User.Password()
	s.write("password", password)
	server := fmt.Sprintf(`"host": %q, "port": %s, "database": %q, "sslmode": "disable", "user": %q%s`, at.Hostname(), at.Port(),
		strings.TrimPrefix(at.Path, "/"), at.User.Username(), c.source)
	s.write("changes.json", fmt.Sprintf(`{"name": "tortured", "mode": "stream", "every": "10ms", "block": 20, "source": {"type": %q,
		%s, "table": "etl_tortured.t", "metadata": {"operation": "op", "position": "at", "number": "n"}},
		"sinks": [{"format": "csv", "url": "file://out", "object": "changes"},
			{"format": %[1]q, %[2]s, "table": "etl_tortured.merged", "mode": "merge", "key": ["id"]}]}`, c.kind, server))
	work := func(n int) {
		for range n {
			id := 1 + chance.IntN(200)
			switch chance.IntN(4) {
			case 0:
				do(fmt.Sprintf("DELETE FROM etl_tortured.t WHERE id = %d", id))
			case 1:
				do(fmt.Sprintf("INSERT INTO etl_tortured.t VALUES (%d, %d) %s", id, chance.IntN(1e6), c.upsert))
			default:
				do(fmt.Sprintf("UPDATE etl_tortured.t SET v = v + 1 WHERE id BETWEEN %d AND %d", id, id+chance.IntN(5)))
			}
		}
	}
	manifests := func() int {
		found, _ := filepath.Glob(filepath.Join(s.dir, "out/changes/_manifest/*.json"))
		return len(found)
	}
	for range kills {
		cmd := exec.Command(s.bin, "etl", "run", "changes.json")
		cmd.Dir = s.dir
		var said output
		cmd.Stderr = &said
		before := manifests()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		deadline := time.Now().Add(3 * time.Minute)
		for manifests() == before {
			if work(5); time.Now().After(deadline) {
				t.Fatalf("after three minutes no batch of the stream came: %s", said.String())
			}
		}
		<-time.After(time.Duration(chance.IntN(50)) * time.Millisecond) // a random moment
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err, said.String())
		}
		_ = cmd.Wait()
	}
	work(10)
	s.etl("run", "changes.json", "--until-end")
	if report := s.etl("audit", "changes.json"); !strings.Contains(report, "every row is accounted for") {
		t.Error(report)
	}
	if n := c.differ(); n != 0 {
		t.Errorf("%d rows of the merged table are otherwise", n)
	}
	found, _ := filepath.Glob(filepath.Join(s.dir, "out/changes/*.csv"))
	seen := map[string]int{}
	for _, name := range found {
		for _, line := range strings.Fields(string(s.read(strings.TrimPrefix(name, s.dir+"/"))))[1:] {
			cells := strings.Split(line, ",")
			if seen[cells[3]+" "+cells[4]]++; seen[cells[3]+" "+cells[4]] > 1 {
				t.Errorf("the change %s came twice", line)
			}
		}
	}
	if len(seen) < 200 {
		t.Errorf("only %d changes came", len(seen))
	}
}
