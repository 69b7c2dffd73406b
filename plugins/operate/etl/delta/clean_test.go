package delta

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func logOf(t *testing.T, dir string) (names []string) {
	t.Helper()
	all, err := os.ReadDir(filepath.Join(dir, "a/b/_delta_log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		names = append(names, strings.TrimLeft(e.Name(), "0"))
	}
	return names
}

// What the log has of versions that are no longer kept goes, and the table can be
// read as it was at any time since, by each of its checkpoints.
func TestClean_OldVersionsGoUpToACheckpoint(t *testing.T) {
	dir := t.TempDir()
	table, began := at(t, dir), time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
	s := empty()
	for n := range 36 { // one a day
		now := began.AddDate(0, 0, n)
		c := Change{Now: now.UnixMilli(), Add: []Add{{Path: fmt.Sprintf("f%d", n), Stats: `{"numRecords":1}`}}}
		if n == 0 {
			c.Protocol, c.Metadata = made(t, now).Protocol, made(t, now).Metadata
		}
		var err error
		if s, err = table.Commit(t.Context(), s, c); err == nil {
			err = table.Tidy(t.Context(), s, now)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"00000000000000000003.crc", "00000000000000000004.00000000000000000008.compacted.json",
		"00000000000000000003.txt"} {
		if err := os.WriteFile(filepath.Join(dir, table.log(), name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := logOf(t, dir)
	if n, err := table.Clean(t.Context(), s, began.AddDate(0, 0, 39)); n != 0 || err != nil {
		t.Fatalf("the checkpoint of day 10 is of day 10, and 9 is the day: %d, %v", n, err)
	}
	if !slices.Equal(logOf(t, dir), before) {
		t.Fatal("something is gone")
	}
	n, err := table.Clean(t.Context(), s, began.AddDate(0, 0, 40))
	after := logOf(t, dir)
	if err != nil || n != 12 || len(after) != len(before)-n || after[0] != "3.txt" ||
		after[1] != "10.checkpoint.parquet" || after[2] != "10.json" {
		t.Fatalf("%d are gone, and there is %v: %v", n, after, err)
	}
	read, err := table.Read(t.Context(), nil)
	if err != nil || len(read.Files) != 36 || read.Version != 35 {
		t.Fatal(read, err)
	}
	for _, late := range []string{"20.checkpoint.parquet", "30.checkpoint.parquet"} { // as it was, and what came since
		if err := os.Remove(filepath.Join(dir, table.log(), strings.Repeat("0", 18)+late)); err != nil {
			t.Fatal(err)
		}
	}
	if read, err = table.Read(t.Context(), nil); err != nil || len(read.Files) != 36 || read.Checkpoint != 10 {
		t.Fatal(read, err)
	}
	if n, err := table.Clean(t.Context(), s, began.AddDate(1, 0, 0)); n != 0 || err != nil {
		t.Errorf("without a newer checkpoint: %d, %v", n, err)
	}
}

// A table says how long its log stays; words that are not known keep it.
func TestClean_TheTableSaysHowLong(t *testing.T) {
	day := 24 * time.Hour
	for said, want := range map[string]time.Duration{"interval 30 days": 30 * day, "interval 1 week": 7 * day,
		"INTERVAL 2 days 12 hours": 60 * time.Hour, "168 hours": 7 * day, "interval 1 second": day, "interval 1 month": 0,
		"interval": 0, "interval x days": 0, "interval -1 days": 0, "interval 999999999999999 weeks": 0, "interval 3": 0} {
		got, known := logKept(map[string]string{"delta.logRetentionDuration": said})
		if got != want || known != (want != 0) {
			t.Errorf("%s: %v, %t", said, got, known)
		}
	}
	if _, known := logKept(map[string]string{"delta.enableExpiredLogCleanup": "false"}); known {
		t.Error("it is to be kept")
	}
	if got, known := logKept(nil); got != 30*day || !known {
		t.Error(got, known)
	}
}

// A version that does not say when it was made stays, and those behind it.
func TestClean_AVersionWithoutATimeStays(t *testing.T) {
	dir := t.TempDir()
	table, now := at(t, dir), time.Now()
	s, err := table.Commit(t.Context(), empty(), made(t, now))
	for range 20 {
		if err == nil {
			s, err = table.Commit(t.Context(), s, Change{})
		}
		if err == nil {
			err = table.Tidy(t.Context(), s, now)
		}
	}
	n, cleaned := table.Clean(t.Context(), s, now.AddDate(1, 0, 0))
	if err := errors.Join(err, cleaned); err != nil || n != 0 {
		t.Error(n, err)
	}
}
