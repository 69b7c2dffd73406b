package sqldb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/tests/integration/require"
)

// onEach runs a test on an empty store of each kind. open opens it once more,
// as another process would.
func onEach(t *testing.T, test func(t *testing.T, open func() *DB)) {
	opener := func(t *testing.T, url string) func() *DB {
		return func() *DB {
			db, err := Open(context.Background(), url)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() })
			return db
		}
	}
	t.Run("sqlite", func(t *testing.T) {
		test(t, opener(t, "sqlite://"+filepath.Join(t.TempDir(), "new", "folder", "s.db")))
	})
	t.Run("postgres", func(t *testing.T) {
		base := require.Env(t, "WEIR_TEST_POSTGRES_URL")
		db := opener(t, base)()
		schema := fmt.Sprintf("sqldb_test_%d", rand.Uint64())
		exec(t, db, `CREATE SCHEMA `+schema)
		t.Cleanup(func() { exec(t, db, `DROP SCHEMA `+schema+` CASCADE`) })
		test(t, opener(t, withParameter(t, base, "search_path", schema)))
	})
}

func withParameter(t *testing.T, rawURL, name, value string) string {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set(name, value)
	u.RawQuery = q.Encode()
	return u.String()
}

func exec(t *testing.T, db *DB, query string) {
	t.Helper()
	if _, err := db.ExecContext(context.Background(), query); err != nil {
		t.Fatal(err)
	}
}

func count(t *testing.T, db *DB, table string) (n int) {
	t.Helper()
	if err := db.QueryRow(`SELECT count(*) FROM ` + table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func same(script string) Migration { return Migration{SQLite: script, Postgres: script} }

func TestSQLDB_ProcessesThatStartTogetherMigrateOnce(t *testing.T) {
	onEach(t, func(t *testing.T, open func() *DB) {
		steps := []Migration{
			same(`CREATE TABLE thing (n INTEGER); INSERT INTO thing VALUES (1)`),
			same(`INSERT INTO thing VALUES (2)`),
			same(`INSERT INTO thing VALUES (3)`),
		}
		var wg sync.WaitGroup
		for range 6 {
			db := open()
			wg.Go(func() {
				if err := db.Migrate(context.Background(), "room", steps); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := count(t, open(), "thing"); n != 3 {
			t.Errorf("%d rows, expected one of each step", n)
		}
	})
}

func TestSQLDB_SizeIsOfAllThatIsKept(t *testing.T) {
	onEach(t, func(t *testing.T, open func() *DB) {
		db := open()
		exec(t, db, `CREATE TABLE big (x TEXT)`)
		for range 8 { // of random digits: PostgreSQL compresses others
			text := make([]byte, 0, 1<<20)
			for len(text) < 1<<20-20 {
				text = strconv.AppendUint(text, rand.Uint64(), 10)
			}
			exec(t, db, `INSERT INTO big VALUES ('`+string(text)+`')`)
		}
		if n, err := db.Size(context.Background()); err != nil || n < 3<<20 || n > 1<<40 {
			t.Errorf("with 8 MB in it: %d bytes, %v", n, err)
		}
	})
}

func TestSQLDB_FailedStepLeavesWholeSteps(t *testing.T) {
	onEach(t, func(t *testing.T, open func() *DB) {
		db, ctx := open(), context.Background()
		first, bad := same(`CREATE TABLE thing (n INTEGER)`),
			same(`INSERT INTO thing VALUES (1); INSERT INTO nothing VALUES (2)`)
		if err := db.Migrate(ctx, "room", []Migration{first, bad}); err == nil || !strings.Contains(err.Error(), "step 1") {
			t.Fatalf("expected the failure of step 1, got %v", err)
		}
		if n := count(t, db, "thing"); n != 0 {
			t.Errorf("%d rows of a step that failed", n)
		}
		steps := []Migration{first, same(`INSERT INTO thing VALUES (1)`)}
		for range 2 {
			if err := db.Migrate(ctx, "room", steps); err != nil {
				t.Fatal(err)
			}
		}
		if n := count(t, db, "thing"); n != 1 {
			t.Errorf("%d rows, expected 1", n)
		}
		if err := db.Migrate(ctx, "room", steps[:1]); err == nil || !strings.Contains(err.Error(), "newer version") {
			t.Errorf("an older program on a newer store: %v", err)
		}
		if err := db.Migrate(ctx, "other", []Migration{same(`CREATE TABLE other_thing (n INTEGER)`)}); err != nil {
			t.Errorf("another room: %v", err)
		}
	})
}

func TestSQLDB_URLsThatCannotWorkAreRefusedWithoutTheirPasswords(t *testing.T) {
	for _, c := range []struct{ url, says string }{
		{"/var/lib/weir.db", "expected sqlite://PATH or postgres://"},
		{"sqlite://", "the path is missing"},
		{"mysql://me:s3cret@host/db", `scheme "mysql" is not one of`},
		{"postgres://me:s3cret@host:port/db", "opening SQL store"},
		{"postgres://me:s3cret@127.0.0.1:1/db?connect_timeout=1", "opening SQL store"},
		{"postgres://me@127.0.0.1:1/db?connect_timeout=1&password=s3cret", "opening SQL store"},
		{"postgres://me:s3cret%@host/db", "opening SQL store"},
	} {
		_, err := Open(context.Background(), c.url)
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", c.url, err)
		}
	}
}

func TestSQLDB_RedactKeepsWhatNamesTheStore(t *testing.T) {
	for in, want := range map[string]string{
		"sqlite:///var/lib/weir.db":          "sqlite:///var/lib/weir.db",
		"postgres://me:s3cret@host/db":       "postgres://me:xxxxx@host/db",
		"postgres://host/db?password=s3cret": "postgres://host/db?password=xxxxx",
		"postgres://me:s3cret%@host/db":      "(unreadable URL)",
	} {
		if got := Redact(in); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
}

func TestSQLDB_SQLiteWritersWaitForEachOther(t *testing.T) {
	path := "sqlite://" + filepath.Join(t.TempDir(), "a b%20c.db") // odd names are names
	ctx := context.Background()
	open := func() *DB {
		db, err := Open(ctx, path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		return db
	}
	a, b := open(), open()
	exec(t, a, `CREATE TABLE thing (n INTEGER)`)
	exec(t, a, `INSERT INTO thing VALUES (0)`)
	var wg sync.WaitGroup
	for _, db := range []*DB{a, a, b, b} {
		wg.Go(func() { // read, then write: needs the lock from the beginning
			for range 50 {
				tx, err := db.BeginTx(ctx, nil)
				if err != nil {
					t.Error(err)
					return
				}
				var n int
				if err = tx.QueryRow(`SELECT n FROM thing`).Scan(&n); err == nil {
					_, err = tx.Exec(`UPDATE thing SET n = $1`, n+1)
				}
				if err := errors.Join(err, tx.Commit()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	var n int
	if err := a.QueryRow(`SELECT n FROM thing`).Scan(&n); err != nil || n != 200 {
		t.Errorf("counted %d of 200, %v", n, err)
	}
}

func TestSQLDB_SharedOpensAStoreOnce(t *testing.T) {
	ctx, res, url := context.Background(), service.MockResources(), "sqlite://"+t.TempDir()+"/s.db"
	a, releaseA, err := Shared(ctx, res, url)
	if err != nil {
		t.Fatal(err)
	}
	b, releaseB, err := Shared(ctx, res, url)
	if err != nil || a != b {
		t.Fatalf("another handle, %v", err)
	}
	releaseA()
	releaseA() // twice is once
	if err := b.Ping(); err != nil {
		t.Errorf("closed while in use: %v", err)
	}
	releaseB()
	if err := a.Ping(); err == nil {
		t.Error("still open after the last release")
	}
	c, release, err := Shared(ctx, res, url)
	if err != nil || c.Ping() != nil {
		t.Errorf("opening again: %v", err)
	}
	release()
}

// A server that does not answer must not keep components from other stores.
func TestSQLDB_SharedDoesNotWaitForAnotherStore(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	ctx, cancel := context.WithCancel(context.Background())
	res, failed := service.MockResources(), make(chan error)
	go func() {
		_, _, err := Shared(ctx, res, "postgres://me@"+silent.Addr().String()+"/db?sslmode=disable&connect_timeout=60")
		failed <- err
	}()
	if conn, err := silent.Accept(); err != nil { // it is under way
		t.Fatal(err)
	} else {
		defer func() { _ = conn.Close() }()
	}
	_, release, err := Shared(context.Background(), res, "sqlite://"+t.TempDir()+"/s.db")
	if err != nil {
		t.Fatal(err)
	}
	release()
	cancel()
	if err := <-failed; err == nil {
		t.Error("a silent server was opened")
	}
}

// proxy stands between a store and its server, and can cut all connections,
// as a restart does.
type proxy struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
}

func newProxy(t *testing.T, server string) *proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l}
	t.Cleanup(func() { _ = l.Close(); p.cut() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", server)
			if err != nil {
				_ = in.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, in, out)
			p.mu.Unlock()
			go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
			go func() { _, _ = io.Copy(in, out); _ = in.Close() }()
		}
	}()
	return p
}

func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}

func TestSQLDB_PostgresIsFoundAgainAfterARestart(t *testing.T) {
	base := require.Env(t, "WEIR_TEST_POSTGRES_URL")
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	p := newProxy(t, u.Host)
	u.Host = p.Addr().String()
	db, err := Open(context.Background(), u.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	ctx := context.Background()
	for range 3 {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		p.cut()
		if _, err := tx.ExecContext(ctx, `SELECT 1`); err == nil {
			t.Error("a transaction survived its connection")
		}
		_ = tx.Rollback()
		time.Sleep(1100 * time.Millisecond) // idle connections are pinged after a second
		if _, err := db.ExecContext(ctx, `SELECT 1`); err != nil {
			t.Errorf("the first statement after the restart: %v", err)
		}
	}
}
