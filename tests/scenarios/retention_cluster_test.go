package scenarios

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/tests/integration/require"
)

// remembered is a config that stores events of two fleets: those of plant-7 over the last ten weeks, those of plant-8
// over the last three.
const remembered = `
http: {enabled: false}
input:
  generate:
    count: 6000
    batch_size: 500
    interval: ""
    mapping: |
      let n = counter()
      let other = $n % 2 == 1
      let age = ($n * 7919) % (if $other { 1814400 } else { 6048000 })
      let at = (now().ts_unix() - $age).ts_format("2006-01-02T15:04:05Z", "UTC")
      root = {"event_id": uuid_v4(), "device_id": "d-%d".format($n % 100), "device_firmware_version": "2.1.0", "timestamp": $at,
        "metrics": {"cpu_temp": 61.5, "battery_voltage": 3.7, "vibration": 0.2}}
      meta weir_fleet = if $other { "plant-8" } else { "plant-7" }
      meta weir_received_at = now().ts_format("2006-01-02T15:04:05.000000Z", "UTC")
      meta weir_schema = "telemetry/2"
output:
  broker:
    pattern: fan_out
    outputs:
      - raw_store:
          url: ${WEIR_RAW_URL}
          batching: {count: 3000, period: 1s}
      - rollup_store:
          url: ${WEIR_ROLLUP_URL}
          batching: {count: 3000, period: 1s, processors: [{rollup: {}}]}
`

// keeper runs weir's retention stream alone, on real servers.
type keeper struct {
	t      *testing.T
	sys    *system
	places places
}

func newKeeper(t *testing.T) *keeper {
	postgres := mustParse(t, require.Env(t, "WEIR_TEST_POSTGRES_URL"))
	s3 := mustParse(t, require.Env(t, "WEIR_TEST_S3_URL"))
	k := &keeper{t: t, sys: newSystem(t)}
	name := fmt.Sprintf("retention_%d", time.Now().UnixNano())
	createDatabase(t, postgres.String(), name)
	postgres.Path = "/" + name
	lake := func(folder string) string {
		query := s3.Query()
		query.Set("prefix", name+"/"+folder+"/")
		return "s3://" + s3.Host + "?" + query.Encode()
	}
	k.places = places{raw: lake("raw"), deadLetters: lake("dead-letter"), rollups: postgres.String(),
		control: postgres.String()}
	return k
}

func (k *keeper) env(more ...string) []string {
	return append(append(os.Environ(), "WEIR_RAW_URL="+k.places.raw, "WEIR_DEAD_LETTER_URL="+k.places.deadLetters,
		"WEIR_ROLLUP_URL="+k.places.rollups, "WEIR_CONTROL_URL="+k.places.control), more...)
}

func (k *keeper) weir(args ...string) (string, error) {
	cmd := exec.Command(k.sys.bin, args...)
	cmd.Dir, cmd.Env = k.sys.dir, k.env()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("weir %s: %w\n%s", strings.Join(args, " "), err, errs.String())
	}
	return out.String(), nil
}

// during runs the stream with its clock set to a time while do runs. do gets a function that returns the end of the
// log.
func (k *keeper) during(at time.Time, do func(log func() string), more ...string) {
	k.t.Helper()
	path := filepath.Join(k.sys.dir, "retention.log")
	log, err := os.Create(path)
	if err != nil {
		k.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(k.sys.bin, "run", "--set", "http.enabled=false", repo("configs/streams/retention.yaml"))
	cmd.Dir, cmd.Stdout, cmd.Stderr = k.sys.dir, log, log
	cmd.Env = k.env(append([]string{"WEIR_RETENTION_INTERVAL=1s", "WEIR_RETENTION_NOW=" + at.UTC().Format(time.RFC3339)},
		more...)...)
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			k.t.Errorf("weir run: %v\n%s", err, tail(path, 10))
		}
	}()
	do(func() string { return tail(path, 50) })
}

func (k *keeper) forget(at time.Time) (rows map[string]int) {
	k.t.Helper()
	k.during(at, func(func() string) {
		rows = forgotten(k.t, at, func() (string, error) { return k.weir("retention", "--json", "--limit", "1000") })
	})
	return rows
}

// The promises of TestRetention_ForgetsOnTimeAndKeepsWhatIsHeld on S3 and PostgreSQL, checked with pyarrow's S3
// client and psycopg. While the control store is away, holds are unknown and nothing is deleted.
func TestRetention_OnServersDropsPartitionsAndKeepsWhatIsHeld(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	file := filepath.Join(k.sys.dir, "remembered.yaml")
	if err := os.WriteFile(file, []byte(remembered), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := k.weir("run", file); err != nil {
		t.Fatal(err)
	}
	if _, err := k.weir("hold", "add", "--fleet", "plant-8", "--reason", "case 4711", "--force"); err != nil {
		t.Fatal(err)
	}
	before := taken(t, k.places)
	if before.Raw.Rows["plant-7"] != 3000 || before.Raw.Rows["plant-8"] != 3000 || len(before.Rollups.Partitions) < 10 {
		t.Fatalf("there is too little to forget: %+v", before)
	}
	later := time.Now().AddDate(2, 0, 10)

	k.during(later, func(log func() string) { // the control store, which has the holds, cannot be reached
		for deadline := time.Now().Add(30 * time.Second); !strings.Contains(log(),
			"tried again"); time.Sleep(200 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("no run failed without the control store:\n%s", log())
			}
		}
	}, "WEIR_CONTROL_URL=postgres://weir@127.0.0.1:1/nowhere?connect_timeout=1")
	if after := taken(t, k.places); fmt.Sprint(after.Raw.Digest, after.Rollups.Rows) != fmt.Sprint(before.Raw.Digest,
		before.Rollups.Rows) {
		t.Fatalf("something was deleted while holds could not be read:\n%+v\nwas\n%+v", after, before)
	}

	gone := k.forget(later)
	held := taken(t, k.places)
	t.Logf("with a hold: deleted %v; raw %d → %d bytes, rollups %d → %d bytes, %d → %d partitions", gone, before.Raw.Bytes,
		held.Raw.Bytes,
		before.Rollups.Bytes, held.Rollups.Bytes, len(before.Rollups.Partitions), len(held.Rollups.Partitions))
	if held.Raw.Rows["plant-7"] != 0 || held.Raw.Digest["plant-8"] != before.Raw.Digest["plant-8"] {
		t.Errorf("raw: %+v, was %+v", held.Raw, before.Raw)
	}
	windows := held.Rollups.Rows["rollup_window_1m"]
	if windows["plant-7"] != 0 || windows["plant-8"] != before.Rollups.Rows["rollup_window_1m"]["plant-8"] {
		t.Errorf("rollups: %v, were %v", held.Rollups.Rows, before.Rollups.Rows)
	}
	if len(held.Rollups.Partitions)+5 > len(before.Rollups.Partitions) || held.Rollups.Bytes >= before.Rollups.Bytes ||
		held.Raw.Bytes*4 > before.Raw.Bytes*3 {
		t.Errorf("the space is not given back: %+v, was %+v", held, before)
	}

	if _, err := k.weir("hold", "release", "--fleet", "plant-8"); err != nil {
		t.Fatal(err)
	}
	gone = k.forget(later)
	end := taken(t, k.places)
	t.Logf("after the hold: deleted %v; raw %d bytes, rollups %d bytes, %d partitions", gone, end.Raw.Bytes,
		end.Rollups.Bytes, len(end.Rollups.Partitions))
	if len(end.Raw.Rows)+len(end.Rollups.Rows["rollup_window_1m"]) != 0 || end.Raw.Objects != 0 {
		t.Errorf("something is left: %+v", end)
	}
}
