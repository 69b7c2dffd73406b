package delta

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"path"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"weir/plugins/store/lake"
)

const (
	keepLog      = 30 * 24 * time.Hour // unless the table says otherwise
	leastKeptLog = 24 * time.Hour      // no writer works from a version older than that
)

// ofVersion matches the objects of one version, or of a range that begins with it.
var ofVersion = regexp.MustCompile(
	`^(\d{20})\.(?:json|crc|checkpoint\.(?:.+\.)?(?:parquet|json)|\d{20}\.compacted\.json)$`)

// Clean removes the log of versions that are older than the table keeps them
// (delta.logRetentionDuration), and returns the number of removed objects. The newest checkpoint of
// that age stays, and all versions from there on, so that the table can be read as of any time
// since. After a crash, only some of the oldest are removed.
func (t Table) Clean(ctx context.Context, s *Snapshot, now time.Time) (n int, err error) {
	keep, known := logKept(s.Metadata.Configuration)
	if !known || slices.Contains(s.Protocol.ReaderFeatures, featureV2Checkpoint) { // these have parts elsewhere
		return 0, nil
	}
	l, err := t.list(ctx)
	if err != nil {
		return 0, err
	}
	first, err := t.oldest(ctx, l, now.Add(-keep).UnixMilli())
	if err != nil || first < 0 {
		return 0, err
	}
	var old []string
	if err := t.Store.List(ctx, t.log(), func(b lake.Blob) error {
		m := ofVersion.FindStringSubmatch(path.Base(b.Key))
		if m == nil || path.Dir(b.Key) != t.log() {
			return nil
		}
		if version, err := strconv.ParseInt(m[1], 10, 64); err == nil && version < first {
			old = append(old, b.Key)
		}
		return nil
	}); err != nil {
		return 0, err
	}
	for _, key := range old { // the oldest first
		if err := t.Store.Remove(ctx, key); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// oldest returns the first version whose log stays: the newest with a checkpoint that was made
// before a time; -1: there is none.
func (t Table) oldest(ctx context.Context, l listing, before int64) (int64, error) {
	versions := slices.Sorted(maps.Keys(l.commits))
	var failed error
	newer := sort.Search(len(versions), func(i int) bool {
		at, err := t.madeAt(ctx, l.commits[versions[i]])
		failed = errors.Join(failed, err)
		return at > before
	})
	if failed != nil || newer == 0 {
		return -1, failed
	}
	first := int64(-1)
	for n := range l.checkpoints {
		if n <= versions[newer-1] {
			first = max(first, n)
		}
	}
	return first, nil
}

// madeAt returns when a version was made, in milliseconds, according to its commit. A commit that
// does not tell counts as new.
func (t Table) madeAt(ctx context.Context, b lake.Blob) (at int64, err error) {
	err = t.eachAction(ctx, b, func(a action) error {
		var told info
		if a.CommitInfo != nil && json.Unmarshal(a.CommitInfo, &told) == nil {
			at = told.Timestamp
		}
		return nil
	})
	if at <= 0 {
		at = 1<<63 - 1
	}
	return at, err
}

// logKept returns how long the table keeps its log; false: for good, or for a time that cannot be
// parsed.
func logKept(configuration map[string]string) (time.Duration, bool) {
	if strings.EqualFold(configuration["delta.enableExpiredLogCleanup"], "false") {
		return 0, false
	}
	said, is := configuration["delta.logRetentionDuration"]
	if !is {
		return keepLog, true
	}
	words := strings.Fields(strings.ToLower(said))
	if len(words) > 0 && words[0] == "interval" {
		words = words[1:]
	}
	var all time.Duration
	for ; len(words) >= 2; words = words[2:] {
		n, err := strconv.ParseInt(words[0], 10, 32)
		unit, is := map[string]time.Duration{"week": 7 * 24 * time.Hour, "day": 24 * time.Hour, "hour": time.Hour,
			"minute": time.Minute, "second": time.Second, "millisecond": time.Millisecond,
			"microsecond": time.Microsecond}[strings.TrimSuffix(words[1], "s")]
		if err != nil || !is || n < 0 || n > int64(1<<62/unit) {
			return 0, false
		}
		all += time.Duration(n) * unit
	}
	if len(words) > 0 || all <= 0 {
		return 0, false
	}
	return max(all, leastKeptLog), true
}
