package rule

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/redpanda-data/benthos/v4/public/bloblang"
	"gopkg.in/yaml.v3"

	"weir/internal/event"
	"weir/internal/platform/sqldb"
)

// Reading says how a rules stream processes records before the rules see them. It is stored with the offset from
// which a partition is read that way, so that results from before a change of a mapping can still be recomputed.
type Reading struct {
	ID       string            `json:"-"` // a hash of the other fields
	Mappings []string          `json:"mappings,omitempty"`
	Files    map[string]string `json:"files,omitempty"`  // texts of the files that the mappings import, by path
	Others   []string          `json:"others,omitempty"` // processors that may change events and cannot be repeated
	Delay    int64             `json:"delay"`            // in µs
	Ahead    int64             `json:"max_ahead"`        // in µs
}

// harmless are processors that do not change an event.
var harmless = [...]string{"event_dedupe", "log", "metric"}

// readingOf returns the Reading of an output from the config of its processors.
func readingOf(processors any, delay, ahead time.Duration) (*Reading, error) {
	r := &Reading{Delay: delay.Microseconds(), Ahead: ahead.Microseconds()}
	list, _ := processors.([]any)
	for _, item := range list {
		name, of := processorOf(item)
		text, isText := of.(string)
		switch {
		case slices.Contains(harmless[:], name):
		case isText && (name == "mapping" || name == "bloblang") && r.takes(text):
		default:
			r.Others = append(r.Others, cmp.Or(name, "processor"))
		}
	}
	raw, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("writing down how events are read: %w", err)
	}
	sum := sha256.Sum256(raw)
	r.ID = hex.EncodeToString(sum[:8])
	return r, nil
}

// processorOf returns the name of a processor and its config; "" when item is not one processor.
func processorOf(item any) (name string, of any) {
	if node, is := item.(*yaml.Node); is && node.Decode(&item) != nil {
		return "", nil
	}
	members, _ := item.(map[string]any)
	for member, config := range members {
		if member == "label" {
			continue
		}
		if name != "" {
			return "", nil
		}
		name, of = member, config
	}
	return name, of
}

// pure is the Bloblang environment of functions whose result depends on their input alone.
func pure() *bloblang.Environment { return bloblang.GlobalEnvironment().OnlyPure() }

// takes adds a mapping with the files that it imports. It returns false, and adds nothing, when the mapping depends
// on more than the event or cannot be parsed; the processor itself reports what cannot be parsed.
func (r *Reading) takes(text string) bool {
	files := map[string]string{}
	_, err := pure().WithCustomImporter(func(path string) ([]byte, error) {
		raw, err := os.ReadFile(path)
		files[path] = string(raw)
		return raw, err
	}).Parse(text)
	if err != nil {
		return false
	}
	if len(files) > 0 && r.Files == nil {
		r.Files = map[string]string{}
	}
	maps.Copy(r.Files, files)
	r.Mappings = append(r.Mappings, text)
	return true
}

// Compile compiles the mappings, in order, with the files as they were when the Reading was made.
func (r *Reading) Compile() (all []*bloblang.Executor, err error) {
	env := pure().WithCustomImporter(func(path string) ([]byte, error) {
		if text, kept := r.Files[path]; kept {
			return []byte(text), nil
		}
		return nil, fmt.Errorf("the mapping names %s, which was not kept: %w", path, os.ErrNotExist)
	})
	for _, text := range r.Mappings {
		one, err := env.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("reading a mapping of the rules stream: %w", err)
		}
		all = append(all, one)
	}
	return all, nil
}

// readBy loads which Reading the store has for a partition last.
func (h *held) readBy(ctx context.Context, tx *sql.Tx) error {
	err := tx.QueryRowContext(ctx, `SELECT reading FROM rule_switch WHERE topic = $1 AND part = $2 AND log = $3
		ORDER BY first DESC LIMIT 1`, h.topic, h.number, h.log).Scan(&h.readAs)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("reading how %s/%d was read: %w", h.topic, h.number, err)
	}
	return nil
}

// switches reports whether the partition changes its rules or its Reading with the next commit.
func (h *held) switches(rules string) bool { return h.rules != rules || h.readAs != h.reading.ID }

// saveSwitch writes from which offset a partition has its present rules and Reading, if either changed. For a join
// of two topics nothing is written: the partitions of the topics themselves have it.
func (h *held) saveSwitch(ctx context.Context, tx *sql.Tx, rules string, now time.Time) error {
	if h.sides != nil || !h.switches(rules) {
		return nil
	}
	raw, err := json.Marshal(h.reading)
	if err == nil {
		_, err = tx.ExecContext(ctx, `INSERT INTO rule_reading (id, reading, noted_at) VALUES ($1, $2, $3)
			ON CONFLICT (id) DO NOTHING`, h.reading.ID, string(raw), now.UnixMicro())
	}
	if err == nil {
		_, err = tx.ExecContext(ctx, `INSERT INTO rule_switch (topic, part, log, first, version, reading)
			VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (topic, part, log, first) DO UPDATE SET version = excluded.version,
			reading = excluded.reading`, h.topic, h.number, h.log, h.begins, rules, h.reading.ID)
	}
	if err != nil {
		return fmt.Errorf("writing since when %s/%d has its rules: %w", h.topic, h.number, err)
	}
	h.readAs = h.reading.ID
	return nil
}

// readings are the Readings of a partition, with the offsets from which they apply, in order.
type readings []struct {
	first int64
	by    *Reading // nil: not known, an older weir did not store it
}

// readingsOf reads the readings of a partition's present log.
func readingsOf(ctx context.Context, db *sqldb.DB, at place) (list readings, err error) {
	rows, err := db.QueryContext(ctx, `SELECT s.first, s.reading, coalesce(r.reading, '') FROM rule_switch s
		LEFT JOIN rule_reading r ON r.id = s.reading WHERE s.topic = $1 AND s.part = $2 AND s.log =
		(SELECT log FROM rule_position p WHERE p.topic = $1 AND p.part = $2) ORDER BY s.first`, at.topic, at.number)
	if err != nil {
		return nil, fmt.Errorf("reading how %s/%d was read: %w", at.topic, at.number, err)
	}
	known := map[string]*Reading{}
	for err == nil && rows.Next() {
		var first int64
		var id, text string
		if err = rows.Scan(&first, &id, &text); err == nil && text != "" && known[id] == nil {
			r := &Reading{ID: id}
			err = json.Unmarshal([]byte(text), r)
			known[id] = r
		}
		list = append(list, struct {
			first int64
			by    *Reading
		}{first, known[id]})
	}
	if err = errors.Join(err, rows.Err(), rows.Close()); err != nil {
		return nil, fmt.Errorf("reading how %s/%d was read: %w", at.topic, at.number, err)
	}
	return list, nil
}

// at returns how the record at an offset was read, nil when that is not known.
func (list readings) at(offset int64) (by *Reading) {
	for _, r := range list {
		if r.first > offset {
			break
		}
		by = r.by
	}
	return by
}

// aheadOf returns the largest max_ahead that records were read by, in microseconds: how much later than its receipt an
// event may count.
func aheadOf(ctx context.Context, q sqldb.Querier) (int64, error) {
	most := aheadMost.Microseconds()
	err := sqldb.Each(ctx, q, func(row sqldb.Row) error {
		raw, err := sqldb.Value[[]byte](row)
		var by Reading
		if err == nil {
			err = json.Unmarshal(raw, &by)
		}
		most = max(most, by.Ahead)
		return err
	}, `SELECT reading FROM rule_reading`)
	if err != nil {
		return 0, fmt.Errorf("reading how events were read: %w", err)
	}
	return most, nil
}

// ahead returns the max_ahead that applied to the record at an offset.
func (list readings) ahead(offset int64) time.Duration {
	if by := list.at(offset); by != nil {
		return time.Duration(by.Ahead) * time.Microsecond
	}
	return aheadMost
}

// countsAt returns the time at which an event counts: its own, or that of its receipt when the event is stamped
// more than most after it. A zero received means that the time of receipt is not known.
func countsAt(e *event.Event, received time.Time, flags string, most time.Duration) time.Time {
	at := e.At(received, event.HasFlag(flags, event.FlagClockAhead))
	if !received.IsZero() && at.After(received.Add(most)) {
		return received
	}
	return at
}
