package scenarios

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"weir/tests/integration/require"
)

// Changes of a table that are followed, beside who writes to it: killed at any moment, a
// stream leaves what is merged as the table is, and each change once in what keeps all.
func TestETL_TortureOfChangesLeavesTheTableAsItIs(t *testing.T) {
	at := mustParse(t, require.Env(t, "WEIR_TEST_POSTGRES_URL"))
	s := newSystem(t)
	kills, seed := fromEnv(t, "WEIR_TORTURE_KILLS", 3), fromEnv(t, "WEIR_TORTURE_SEED", time.Now().UnixNano()%1e9)
	t.Logf("%d kills, WEIR_TORTURE_SEED=%d", kills, seed)
	chance := rand.New(rand.NewPCG(uint64(seed), 0))
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
				break // until the server knows that who read it is dead
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
	server := fmt.Sprintf(`"host": %q, "port": %s, "database": %q, "sslmode": "disable", "user": %q`, at.Hostname(), at.Port(),
		strings.TrimPrefix(at.Path, "/"), at.User.Username())
	s.write("changes.json", fmt.Sprintf(`{"name": "tortured", "mode": "stream", "every": "10ms", "block": 20, "source": {"type": "postgres",
		%s, "table": "etl_tortured.t", "metadata": {"operation": "op", "position": "at", "number": "n"}},
		"sinks": [{"format": "csv", "url": "file://out", "object": "changes"},
			{"format": "postgres", %[1]s, "table": "etl_tortured.merged", "mode": "merge", "key": ["id"]}]}`, server))
	work := func(n int) {
		for range n {
			id := 1 + chance.IntN(200)
			switch chance.IntN(4) {
			case 0:
				do(fmt.Sprintf("DELETE FROM etl_tortured.t WHERE id = %d", id))
			case 1:
				do(fmt.Sprintf("INSERT INTO etl_tortured.t VALUES (%d, %d) ON CONFLICT (id) DO UPDATE SET v = excluded.v", id,
					chance.IntN(1e6)))
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
		var said bytes.Buffer
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
		<-time.After(time.Duration(chance.IntN(50)) * time.Millisecond) // any moment will do
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
	var differ int
	const rows = "(SELECT id, v FROM etl_tortured.merged)"
	if err := conn.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM (TABLE etl_tortured.t EXCEPT "+rows+") a) + "+
		"(SELECT count(*) FROM ("+rows+" EXCEPT TABLE etl_tortured.t) b)").Scan(&differ); err != nil || differ != 0 {
		t.Errorf("%d rows of the merged table are otherwise: %v", differ, err)
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
