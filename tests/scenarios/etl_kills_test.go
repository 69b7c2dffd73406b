package scenarios

import (
	"bytes"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/tests/integration/require"
)

// output collects what a process prints; it may be read while the process runs.
type output struct {
	mu   sync.Mutex
	said bytes.Buffer
}

func (o *output) Write(raw []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.said.Write(raw)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.said.String()
}

// sinks counts the sinks that are complete: the process prints one line for each.
func (o *output) sinks() int { return strings.Count(o.String(), " rows, ") }

// until returns a channel that fires when the run is to be killed: after the duration any, or, if sinks is not 0, up
// to 20 ms after so many sinks are complete.
func (o *output) until(sinks int, any time.Duration) <-chan time.Time {
	if sinks == 0 {
		return time.After(any)
	}
	reached := make(chan time.Time, 1)
	go func() {
		for began := time.Now(); o.sinks() < sinks && time.Since(began) < time.Minute; {
			time.Sleep(time.Millisecond / 2)
		}
		time.Sleep(any % (20 * time.Millisecond))
		reached <- time.Now()
	}()
	return reached
}

// A run from PostgreSQL to S3 is killed at any moment: between blocks, objects, the version of the Delta table and
// the report. It shows all rows of a run or none, and the next run brings each row once. The table grows between the
// runs. WEIR_TORTURE_KILLS is the number of kills.
func TestETL_TortureOfARunToS3BringsEachRowOnce(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	kills, seed := fromEnv(t, "WEIR_TORTURE_KILLS", 3), fromEnv(t, "WEIR_TORTURE_SEED", time.Now().UnixNano()%1e9)
	t.Logf("%d kills, WEIR_TORTURE_SEED=%d", kills, seed)
	chance := rand.New(rand.NewPCG(uint64(seed), 0))
	postgres, lake := mustParse(t, require.Env(t, "WEIR_TEST_POSTGRES_URL")), require.Env(t, "WEIR_TEST_S3_URL")
	db, err := sql.Open("pgx", postgres.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	table := fmt.Sprintf("etl_kills_%d", time.Now().UnixNano())
	query := func(text string) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	query("CREATE TABLE " + table + " (id bigint PRIMARY KEY, x text)")
	defer func() { _, _ = db.Exec("DROP TABLE " + table) }()
	rows, sizes := 0, map[int]bool{0: true}
	grow := func(n int) {
		query(fmt.Sprintf("INSERT INTO %s SELECT n, 'row ' || n FROM generate_series(%d, %d) AS n", table, rows,
			rows+n-1))
		rows += n
		sizes[rows] = true
	}
	s.write("password", "none")
	s.write("kills.json", fmt.Sprintf(`{"name": "kills", "block": 100,
		"source": {"type": "postgres", "host": %q, "port": %s, "database": %q, "sslmode": "disable", "user": %q,
			"password": {"$file": %q}, "table": %q, "key": "id"},
		"sinks": [{"format": "parquet", "url": %q, "object": %q}, {"format": "delta", "url": %[7]q, "table": %[9]q}]}`,
		postgres.Hostname(), postgres.Port(), strings.TrimPrefix(postgres.Path, "/"), postgres.User.Username(),
		filepath.Join(s.dir, "password"), "public."+table, lake, table+"/rows.parquet", table+"/t"))
	s.write("back.json", fmt.Sprintf(`{"name": "back", "source": {"type": "delta", "url": %q, "table": %q},
		"sinks": [{"format": "csv", "url": "file://out", "object": "back.csv"}]}`, lake, table+"/t"))
	// shown returns how many rows the Delta table has. It fails unless they are those of one run, each once.
	shown := func() int {
		t.Helper()
		s.etl("run", "back.json")
		lines := strings.Fields(strings.ReplaceAll(string(s.read("out/back.csv")), "row ", ""))[1:]
		there := map[string]bool{}
		for _, line := range lines {
			there[line] = true
		}
		for id := range lines {
			if !there[fmt.Sprintf("%d,%[1]d", id)] {
				t.Fatalf("of %d rows %d is not there", len(lines), id)
			}
		}
		if len(there) != len(lines) || !sizes[len(lines)] {
			t.Fatalf("%d rows, %d of them different: the source had %v", len(lines), len(there), sizes)
		}
		return len(lines)
	}
	exact := func() {
		t.Helper()
		if report := s.etl("audit", "kills.json"); !strings.Contains(report, fmt.Sprintf(" %d read,", rows)) ||
			!strings.Contains(report, "every row is accounted for") {
			t.Error(report)
		}
		if n := shown(); n != rows {
			t.Errorf("%d rows, want %d", n, rows)
		}
	}
	grow(500)
	began := time.Now()
	s.etl("run", "kills.json")
	whole := time.Since(began) // the duration of a run that is not killed
	exact()
	killed, moments := int64(0), [3]int{}
	for tries := int64(0); killed < kills; tries++ {
		if tries > 20*kills {
			t.Fatalf("of %d runs %d were killed", tries, killed)
		}
		grow(100)
		cmd := exec.Command(s.bin, "etl", "run", "kills.json")
		cmd.Dir = s.dir
		var said output
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case err := <-ended: // it ended before the kill
			if err != nil {
				t.Fatalf("a run that nobody killed: %v\n%s", err, said.String())
			}
			s.etl("run", "kills.json") // the run that ended may have resumed an older one
			exact()
		case <-said.until(chance.IntN(3), time.Duration(chance.Int64N(int64(whole)))):
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			<-ended
			killed++
			moments[said.sinks()]++
			shown()
		}
	}
	t.Logf("killed before the first sink, between the two, and behind both: %v", moments)
	s.etl("run", "kills.json") // completes the run that was killed last
	s.etl("run", "kills.json") // reads the rows that were added since that run began
	exact()
	endpoint, bucket := mustParse(t, lake).Query().Get("endpoint"), mustParse(t, lake).Host
	read := exec.Command(require.Python(t, repo(".")), "-c", `
import os, sys, deltalake, pyarrow.fs, pyarrow.parquet
endpoint, at, rows = sys.argv[1], sys.argv[2], int(sys.argv[3])
key, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
fs = pyarrow.fs.S3FileSystem(access_key=key, secret_key=secret, region="us-east-1",
                             endpoint_override=endpoint.removeprefix("http://"), scheme="http")
table = deltalake.DeltaTable("s3://" + at + "/t", storage_options={"aws_endpoint": endpoint, "aws_region": "us-east-1",
                             "aws_allow_http": "true", "aws_virtual_hosted_style_request": "false"})
want = [{"id": n, "x": f"row {n}"} for n in range(rows)]
for found in pyarrow.parquet.read_table(at + "/rows.parquet", filesystem=fs), table.to_pyarrow_table():
    if sorted(found.to_pylist(), key=lambda r: r["id"]) != want:
        sys.exit(f"{found.num_rows} rows, want {rows}, or others")
os._exit(0) # threads of delta-rs do not always end well`, endpoint, bucket+"/"+table, strconv.Itoa(rows))
	if out, err := read.CombinedOutput(); err != nil {
		t.Errorf("another reader: %v: %s", err, out)
	}
}
