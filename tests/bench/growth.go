package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// A day of a growing store is a million rows: 14 events of each of 50,000 devices, and 300,000 minutes, that is two
// windows of three metrics of each device.
const (
	grownEvents  = 700_000
	grownWindows = 100_000
)

// parseSizes parses the sizes of the stores, in days of a million rows.
func parseSizes(list string) (sizes []int, err error) {
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || len(sizes) > 0 && n <= sizes[len(sizes)-1] {
			return nil, fmt.Errorf("sizes %q: expected millions of rows, each more than the one before, such as 1,10,100", list)
		}
		sizes = append(sizes, n)
	}
	return sizes, nil
}

// growth measures whether ingest and queries cost more as the stores grow.
func (b *bench) growth(ctx context.Context) error {
	dir, err := os.MkdirTemp(b.scratch, "grown-")
	if err != nil {
		return err
	}
	data := filepath.Join(dir, "data")
	t := b.report.table("Stores that grow",
		fmt.Sprintf("A store is filled by its own code, straight into its files and tables: a day of a million rows after "+
			"another, 700,000 events in Parquet and minutes of 300,000 series, which are rows of SQLite for seven days and "+
			"Parquet before. Then `weir up` starts on it, %s devices report 5,000 events/s in tens, and %d queries of each "+
			"kind, of one device after another, are asked one after another: a device's newest, the minutes of its "+
			"yesterday, those of its day nine days ago, and its events of yesterday. Milliseconds of CPU a query, of the "+
			"process. Goal: the figures of 100 million rows within 10 %% of those of one.", number(float64(b.devices)),
			growthQueries),
		"million rows", "filled in s", "GiB", "ready in s", "ingest, µs of CPU per event", "p99 ms", "newest", "minutes",
		"old minutes", "events")
	have := 0
	for _, size := range b.sizes {
		start := time.Now()
		if err := b.grow(ctx, data, have, size); err != nil {
			return err
		}
		have = size
		if err := b.grown(ctx, t, data, size, time.Since(start)); err != nil {
			return fmt.Errorf("%d million rows: %w", size, err)
		}
	}
	return nil
}

// grow adds days to the stores of a data directory that no process has open.
func (b *bench) grow(ctx context.Context, data string, have, want int) error {
	if have == 0 { // weir creates the directory
		s, err := b.upOn(ctx, data, "")
		if err != nil {
			return err
		}
		s.close()
	}
	g, ctx := errgroup.WithContext(ctx)
	for pkg, env := range map[string][]string{
		"./plugins/store/raw": {"WEIR_FILL_DIR=" + filepath.Join(data, "raw"), "WEIR_FILL_ROWS=" + strconv.Itoa(grownEvents)},
		"./plugins/store/rollup": {"WEIR_FILL_DB=sqlite://" + filepath.Join(data, "rollups.db"),
			"WEIR_FILL_DIR=" + filepath.Join(data, "rollups"), "WEIR_FILL_ROWS=" + strconv.Itoa(grownWindows)},
	} {
		g.Go(func() error {
			cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkFill$", "-benchtime", "1x",
				"-timeout", "30m", pkg)
			cmd.Env = append(slices.Concat(os.Environ(), env), "GOFLAGS=-buildvcs=false", "GOGC=400",
				"WEIR_FILL_SKIP="+strconv.Itoa(have), "WEIR_FILL_DAYS="+strconv.Itoa(want-have))
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("filling the store of %s: %w\n%s", pkg, err, out)
			}
			return nil
		})
	}
	return g.Wait()
}

const growthQueries = 200

// grown measures weir on stores of a size.
func (b *bench) grown(ctx context.Context, t *table, data string, size int, filled time.Duration) error {
	bytes, err := sizeOf(data)
	if err != nil {
		return err
	}
	start := time.Now()
	s, err := b.upOn(ctx, data, "", "WEIR_RAW_KEEP=8760h") // so that the oldest days are not deleted
	if err != nil {
		return err
	}
	defer s.close()
	ready := time.Since(start)
	if err := b.seen(ctx, s); err != nil {
		return err
	}
	m, err := b.drive(ctx, s, b.seconds(30), "--rate", "5000", "--batch", "10", "--connections", "64", "--devices",
		strconv.Itoa(b.devices))
	if err != nil {
		return err
	}
	if err := s.settled(ctx); err != nil {
		return err
	}
	row := []any{size, filled.Seconds(), float64(bytes) / (1 << 30), ready.Seconds(), m.cpu, m.Latency.P99}
	today := time.Now().UTC().Truncate(24 * time.Hour)
	span := func(back int) url.Values {
		return url.Values{"from": {today.AddDate(0, 0, -back).Format(time.RFC3339)},
			"to": {today.AddDate(0, 0, 1-back).Format(time.RFC3339)}}
	}
	for _, q := range []struct {
		path string
		back int
		more url.Values
	}{
		{"/v1/devices/%s/latest", 0, nil},
		{"/v1/rollups", 1, url.Values{"metric": {"cpu_temp"}, "resolution": {"1m"}}},
		{"/v1/rollups", 9, url.Values{"metric": {"cpu_temp"}, "resolution": {"1m"}}},
		{"/v1/events", 1, nil},
	} {
		if q.back > size {
			row = append(row, "-")
			continue
		}
		values := url.Values{}
		if q.back > 0 {
			values = span(q.back)
		}
		for k, v := range q.more {
			values[k] = v
		}
		ms, err := b.ask(ctx, s, q.path, values)
		if err != nil {
			return err
		}
		row = append(row, ms)
	}
	t.row(row...)
	return nil
}

// ask sends a query for one device after another, and returns the CPU time of weir per query.
func (b *bench) ask(ctx context.Context, s *system, path string, values url.Values) (ms float64, err error) {
	before, err := s.usage()
	if err != nil {
		return 0, err
	}
	for n := range growthQueries {
		device := fmt.Sprintf("sim-%06d", (n*7919+11)%min(b.devices, 50_000))
		at := path
		if strings.Contains(path, "%s") {
			at = fmt.Sprintf(path, device)
		} else {
			values.Set("device", device)
		}
		if err := s.get(ctx, at+"?"+values.Encode()); err != nil {
			return 0, err
		}
	}
	after, err := s.usage()
	return float64((after.cpu - before.cpu).Microseconds()) / 1000 / growthQueries, err
}

func (s *system) get(ctx context.Context, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.api+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("X-API-Key", s.key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || len(answer) < 100) { // an empty answer measures nothing
		err = fmt.Errorf("answered %d: %.300s", resp.StatusCode, answer)
	}
	if err != nil {
		return fmt.Errorf("GET %s: %w", path, err)
	}
	return nil
}

// sizeOf returns the size of the files of a directory, in bytes.
func sizeOf(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	return n, err
}
