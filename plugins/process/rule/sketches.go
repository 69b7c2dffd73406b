package rule

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"weir/internal/lifecycle"
	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/rawjson"
	"weir/internal/platform/sqldb"
)

// Sums of all devices can contain sketches of distinct values. Up to 256 values are kept as a list of their hashes.
// Someone who has a value and the store can check whether its hash is there, so an erasure removes the hash, from
// stored results and from open windows. More values are kept as a HyperLogLog: for each of 4,096 parts of the hashes,
// only the largest number of leading zeroes. Many values have the same number, and none can be removed.

// countSketches is the name under which an erasure counts the results from which it removed a hash.
const countSketches = "rule_sketches"

// SketchLifecycle returns the store of hash lists in sums of all devices. Erasing a device or a person removes their
// hashes.
func SketchLifecycle() lifecycle.Kind {
	return lifecycle.Rows{Name: "rule_sketches", People: true, Prepare: migrate, Count: countListed,
		Erase: eraseListed, Remains: remains}.Kind()
}

// remains says, for the report of an erasure, what sums of all devices still contain. It is "" when there are none.
func remains(ctx context.Context, db *sqldb.DB, fleet string) (string, error) {
	if err := migrate(ctx, db); err != nil {
		return "", err
	}
	var n, first int64
	if err := db.QueryRowContext(ctx, `SELECT count(*), coalesce(min(window_end), 0) FROM rule_result WHERE fleet = $1
		AND device_id = ''`, fleet).Scan(&n, &first); err != nil {
		return "", fmt.Errorf("counting sums of all devices: %w", err)
	}
	if n == 0 {
		return "", nil
	}
	return fmt.Sprintf("%d results of rules across devices, of windows that end from %s on, keep what was sent in their "+
		"numbers. They hold no id: the names' hashes were taken out of sketches of up to %d values; a sketch of more has no "+
		"hashes, but how many zeroes the luckiest of many began with. Retention deletes them with other results",
		n, time.UnixMicro(first).UTC().Format(time.RFC3339), exactDistinct), nil
}

// hashText returns the hash of a name as it is written in results.
func hashText(name string) string {
	return fmt.Sprintf("%016x", hashOf(name))
}

// hashOf returns the hash that a sketch has for a string value.
func hashOf(name string) uint64 { return xxhash.Sum64(rawjson.AppendString(nil, name)) }

// ofListed selects the sums of all devices of a fleet ($1) that contain the text of a hash ($2).
const ofListed = ` FROM rule_result WHERE fleet = $1 AND device_id = '' AND result LIKE '%' || CAST($2 AS TEXT) || '%'`

// listedMost bounds the results that one transaction reads.
const listedMost = 500

func countListed(ctx context.Context, db *sqldb.DB, fleet, name string) (map[string]int64, error) {
	if name == "" {
		return nil, nil // they go with the fleet
	}
	if err := migrate(ctx, db); err != nil {
		return nil, err
	}
	n := int64(0)
	if err := sqldb.Each(ctx, db, func(row sqldb.Row) error {
		raw, err := sqldb.Value[sql.RawBytes](row)
		if _, had := withoutHash(raw, hashText(name)); had {
			n++
		}
		return err
	}, `SELECT result`+ofListed, fleet, hashText(name)); err != nil {
		return nil, fmt.Errorf("looking for a name in sketches: %w", err)
	}
	return map[string]int64{countSketches: n}, nil
}

// eraseListed removes the hash of a device or person from the lists of windows that began by the moment of the
// erasure (t.Until). A list does not tell earlier events from later ones: a hash that came again into such a window
// before this runs is removed too.
func eraseListed(ctx context.Context, db *sqldb.DB, t tombstone.Target) error {
	if t.Device == "" {
		return nil
	}
	if err := migrate(ctx, db); err != nil {
		return err
	}
	err := tombstone.Update(ctx, db, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE rule_position SET version = version + 1`); err != nil {
			return err
		}
		return eraseOpen(ctx, tx, db.Dialect, t)
	})
	for after := (resultKey{}); err == nil; {
		var n int
		err = tombstone.Update(ctx, db, func(tx *sql.Tx) (err error) {
			n, err = eraseTold(ctx, tx, t, &after)
			return err
		})
		if n < listedMost {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("taking a name out of sketches: %w", err)
	}
	return nil
}

// eraseTold removes a hash from stored results, in the order of their keys: from up to listedMost after *after, which
// it advances. It returns how many it read.
func eraseTold(ctx context.Context, tx *sql.Tx, t tombstone.Target, after *resultKey) (read int, err error) {
	type changed struct {
		resultKey
		text string
	}
	var all []changed
	hash := hashText(t.Device)
	if err := sqldb.Each(ctx, tx, func(row sqldb.Row) error {
		var raw sql.RawBytes
		if err := row.Scan(&after.id, &after.revision, &raw); err != nil {
			return err
		}
		read++
		var of struct {
			Start time.Time `json:"window_start"`
		}
		if err := json.Unmarshal(raw, &of); err != nil {
			return err
		}
		if rest, had := withoutHash(raw, hash); had && of.Start.UnixMicro() <= t.Until {
			all = append(all, changed{*after, string(rest)})
		}
		return nil
	}, fmt.Sprintf(`SELECT id, revision, result%s AND (id > $3 OR id = $3 AND revision > $4) ORDER BY id, revision LIMIT %d`,
		ofListed, listedMost), t.Fleet, hash, after.id, after.revision); err != nil {
		return read, err
	}
	for _, c := range all {
		if _, err := tx.ExecContext(ctx, `UPDATE rule_result SET result = $3 WHERE id = $1 AND revision = $2`, c.id, c.revision,
			c.text); err != nil {
			return read, err
		}
	}
	return read, tombstone.Add(ctx, tx, t.Job, countSketches, int64(len(all)))
}

// lists matches the lists of hashes in a result.
var lists = regexp.MustCompile(`"h(?:[0-9a-f]{16})+"`)

// withoutHash returns a result with a hash removed from its lists, and whether any had it.
func withoutHash(raw []byte, hash string) (rest []byte, had bool) {
	rest = lists.ReplaceAllFunc(raw, func(list []byte) []byte {
		kept := append(make([]byte, 0, len(list)), `"h`...)
		for at := 2; at+16 < len(list); at += 16 {
			if one := list[at : at+16]; string(one) == hash {
				had = true
			} else {
				kept = append(kept, one...)
			}
		}
		return append(kept, '"')
	})
	return rest, had
}

// eraseOpen removes a hash from the state of open windows. Journals of partitions with such rules are written as rows
// first, because the hash cannot be removed from journal entries.
func eraseOpen(ctx context.Context, tx *sql.Tx, dialect sqldb.Dialect, t tombstone.Target) error {
	places, err := positions(ctx, tx)
	if err != nil {
		return err
	}
	for at, pos := range places {
		rules, err := sketchesOf(ctx, tx, pos)
		if err != nil {
			return err
		}
		if len(rules) == 0 {
			continue
		}
		j, err := readJournal(ctx, tx, at)
		if err == nil && !j.empty() {
			err = fold(ctx, tx, dialect, nil, at, pos, j)
		}
		if err == nil {
			err = eraseStates(ctx, tx, at, rules, t)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sketchesOf returns, by epoch, the rules across devices that keep hashes, of the rules that a partition uses and of
// those that drain there.
func sketchesOf(ctx context.Context, tx *sql.Tx, pos *position) (map[string]*Rule, error) {
	version, canary, _ := named(pos.rules)
	versions := []string{version, canary}
	for _, d := range pos.tally.Drains {
		versions = append(versions, d.Version)
	}
	found := map[string]*Rule{}
	slices.Sort(versions)
	for _, version := range slices.Compact(versions) {
		if version == "" {
			continue
		}
		set, err := versionNamed(ctx, tx, version)
		if err != nil {
			return nil, err
		}
		if set == nil {
			continue
		}
		for _, r := range set.Rules {
			if r.across && slices.ContainsFunc(r.cols, func(c *column) bool { return c.needs&needDistinct != 0 }) {
				found[r.Epoch] = r
			}
		}
	}
	return found, nil
}

// eraseStates removes a hash from the rows of keys without a device.
func eraseStates(ctx context.Context, tx *sql.Tx, at place, rules map[string]*Rule, t tombstone.Target) error {
	type row struct {
		epoch, key string
		state      []byte
	}
	var changed []row
	hash := hashOf(t.Device)
	if err := sqldb.Each(ctx, tx, func(from sqldb.Row) error {
		var r row
		err := from.Scan(&r.epoch, &r.key, &r.state)
		if err != nil || rules[r.epoch] == nil || len(r.state) == 0 {
			return err
		}
		k, err := decodeKey(t.Fleet+"\x00"+r.key, r.state, rules[r.epoch])
		if err != nil {
			return err
		}
		if k.forget(hash, t.Until) {
			r.state = k.append(nil)
			changed = append(changed, r)
		}
		return nil
	}, `SELECT epoch, key, state FROM rule_state WHERE topic = $1 AND part = $2 AND fleet = $3 AND device_id = ''`, at.topic,
		at.number, t.Fleet); err != nil {
		return err
	}
	for _, r := range changed {
		if _, err := tx.ExecContext(ctx, `UPDATE rule_state SET state = $6 WHERE topic = $1 AND part = $2 AND fleet = $3
			AND epoch = $4 AND key = $5`, at.topic, at.number, t.Fleet, r.epoch, r.key, r.state); err != nil {
			return err
		}
	}
	return nil
}

// forget removes a hash from the lists of panes that begin at a time or before. It reports whether any had it.
func (k *keyState) forget(hash uint64, until int64) (had bool) {
	for i := range k.panes {
		p := &k.panes[i]
		for j := range p.cells {
			m := p.cells[j].more
			if m == nil || p.start > until {
				continue
			}
			if at, is := slices.BinarySearch(m.distinct.few, hash); is {
				m.distinct.few = slices.Delete(m.distinct.few, at, at+1)
				had = true
			}
		}
	}
	return had
}
