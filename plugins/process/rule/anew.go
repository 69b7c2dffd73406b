package rule

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"weir/internal/event"
	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
)

// Nothing can be taken out of a sketch of many values, nor out of a least or greatest
// value. So an erasure has the sums of all devices of windows that counted it made anew:
// each from the events that the raw store has left, as a new revision of the same result.
// What is told of it to consumers is what they are told of a late event.
//
// Before anything is deleted it is noted in which minutes, of which partitions, the raw
// store has events of the device (rule_touched). From then on rules are gone over one
// after the other, each by the end of its windows; how far is kept with the revisions, in
// one transaction (rule_anew): a crash leaves the old revision or the new one, and whoever
// goes on begins behind the last that was made. A window that an event may still correct
// waits: its state is open, and is told first. A result that is right as it is stays.

// Minutes are those in which a device had events, by partition.
type Minutes struct{ of map[place]map[int64]int64 } // bits by hour

const minuteLong = int64(time.Minute / time.Microsecond)

// Add adds the minute of a time, of an event that has its place in the log.
func (m *Minutes) Add(first event.Coordinates, at int64) {
	p := place{first.Topic, first.Partition}
	if m.of[p] == nil {
		p.topic = strings.Clone(p.topic)
		m.of[p] = map[int64]int64{}
	}
	hour := hourOf(at)
	m.of[p][hour] |= 1 << ((at - hour) / minuteLong)
}

// lately is how long before an erasure what is of it may have come to rules, and not to
// the raw store: windows of then are made anew, whosever they are.
const lately = 15 * time.Minute

// Touch notes for an erasure which sums are to be made anew: those of the minutes that find
// adds, and of those just before a time. Noting some again changes nothing. Where no rule
// counts all devices, and none did, nothing is looked for.
func Touch(ctx context.Context, db *sqldb.DB, job, fleet string, until time.Time, find func(*Minutes) error) error {
	if err := migrate(ctx, db); err != nil {
		return err
	}
	places, err := positions(ctx, db)
	if err != nil {
		return err
	}
	r := &remaking{Anew: Anew{Fleet: fleet}, db: db, places: places}
	rules, err := r.rules(ctx)
	if err != nil || len(rules) == 0 {
		return err
	}
	m := &Minutes{of: map[place]map[int64]int64{}}
	if err := find(m); err != nil {
		return err
	}
	for at := range places {
		for t := until.Add(-lately); !at.joins() && !t.After(until); t = t.Add(time.Minute) {
			m.Add(event.Coordinates{Topic: at.topic, Partition: at.number}, t.UnixMicro())
		}
	}
	if err := tombstone.Update(ctx, db, func(tx *sql.Tx) error { return m.save(ctx, tx, job, fleet) }); err != nil {
		return fmt.Errorf("noting of which windows sums are made anew: %w", err)
	}
	return nil
}

func (m *Minutes) save(ctx context.Context, tx *sql.Tx, job, fleet string) error {
	for _, at := range slices.SortedFunc(maps.Keys(m.of), place.compare) {
		for _, hour := range slices.Sorted(maps.Keys(m.of[at])) {
			if _, err := tx.ExecContext(ctx, `INSERT INTO rule_touched (job, fleet, topic, part, hour, minutes)
				VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (job, topic, part, hour) DO UPDATE
				SET minutes = rule_touched.minutes | excluded.minutes`, job, fleet, at.topic, at.number, hour,
				m.of[at][hour]); err != nil {
				return err
			}
		}
	}
	return nil
}

// touchedBy are the minutes that an erasure noted, in their order.
func touchedBy(ctx context.Context, db *sqldb.DB, job string) (map[place][]int64, error) {
	found := map[place][]int64{}
	err := sqldb.Each(ctx, db, func(row sqldb.Row) error {
		var at place
		var hour, bits int64
		err := row.Scan(&at.topic, &at.number, &hour, &bits)
		for i := range int64(60) {
			if bits&(1<<i) != 0 {
				found[at] = append(found[at], hour+i*minuteLong)
			}
		}
		return err
	}, `SELECT topic, part, hour, minutes FROM rule_touched WHERE job = $1 ORDER BY topic, part, hour`, job)
	return found, err
}

// Anew is an erasure whose sums are made anew, in rounds.
type Anew struct {
	Job, Fleet string
	// Of is by what results of a partition are made, of windows that end after a time.
	Of   func(ctx context.Context, topic string, partition int32, since time.Time) (Sample, error)
	Held func() error // called between pieces of work: after an error nothing more is written
	By   time.Time    // no piece is begun later
}

// Sums is how far an erasure's sums are.
type Sums struct {
	Parts int `json:"parts"` // rules by partition that may have counted it
	Done  int `json:"parts_done"`
	// Waiting are those whose next window an event may still correct, or has events that the
	// raw store has not come to.
	Waiting int `json:"parts_waiting"`
	// UpTo is the end of the last window that the part which is least far has behind it.
	UpTo *time.Time       `json:"up_to,omitempty"`
	Made int64            `json:"made_anew"` // results
	Kept map[string]int64 `json:"kept"`      // results that stay as they are, by why
}

// Over tells whether nothing is left to be done.
func (s *Sums) Over() bool { return s.Done == s.Parts }

// Idle tells whether all that is left waits for time to pass.
func (s *Sums) Idle() bool { return s.Done+s.Waiting == s.Parts }

// part is a rule in a partition, and how far an erasure has gone over it.
type part struct {
	place
	rule  string
	end   int64 // of the last window that is behind it,
	id    string
	made  int64
	kept  map[string]int64
	done  bool
	waits bool
}

// Make goes on with the erasure's sums until it is time, or all that is left waits.
func (a Anew) Make(ctx context.Context, db *sqldb.DB) (s Sums, err error) {
	if err := migrate(ctx, db); err != nil {
		return s, err
	}
	r := &remaking{Anew: a, db: db, sets: map[string]*Set{}, samples: map[place]Sample{}}
	if r.touched, err = touchedBy(ctx, db, a.Job); err == nil {
		r.places, err = positions(ctx, db)
	}
	var parts []*part
	if err == nil {
		parts, err = r.parts(ctx)
	}
	for _, p := range parts {
		if err == nil && !p.done {
			err = r.goOver(ctx, p)
		}
	}
	if err != nil {
		return s, fmt.Errorf("making sums of all devices anew: %w", err)
	}
	s = Sums{Parts: len(parts), Kept: map[string]int64{}}
	for _, p := range parts {
		s.Made += p.made
		for why, n := range p.kept {
			s.Kept[why] += n
		}
		switch at := time.UnixMicro(p.end).UTC(); {
		case p.done:
			s.Done++
			continue
		case p.waits:
			s.Waiting++
		case p.end > 0 && (s.UpTo == nil || at.Before(*s.UpTo)):
			s.UpTo = &at
		}
	}
	return s, nil
}

// ForgetSums deletes what was noted of an erasure whose sums are over.
func ForgetSums(ctx context.Context, db *sqldb.DB, job string) error {
	err := tombstone.Update(ctx, db, func(tx *sql.Tx) error {
		for _, table := range []string{"rule_touched", "rule_anew"} {
			if _, err := tx.ExecContext(ctx, `DELETE FROM `+table+` WHERE job = $1`, job); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("forgetting of which windows sums were made anew: %w", err)
	}
	return nil
}

// parts are those of the partitions that were touched: noted once, and found again.
func (r *remaking) parts(ctx context.Context) ([]*part, error) {
	rules, err := r.rules(ctx)
	if err != nil {
		return nil, err
	}
	for at := range r.touched {
		for _, rule := range rules {
			if _, err := r.db.ExecContext(ctx, `INSERT INTO rule_anew (job, fleet, topic, part, rule) VALUES ($1, $2, $3, $4, $5)
				ON CONFLICT (job, topic, part, rule) DO NOTHING`, r.Job, r.Fleet, at.topic, at.number, rule); err != nil {
				return nil, err
			}
		}
	}
	return sqldb.All(ctx, r.db, func(row sqldb.Row) (*part, error) {
		p := &part{}
		var kept string
		err := row.Scan(&p.topic, &p.number, &p.rule, &p.end, &p.id, &p.made, &kept, &p.done)
		if err == nil {
			err = json.Unmarshal([]byte(kept), &p.kept)
		}
		return p, err
	}, `SELECT topic, part, rule, at_end, at_id, made, kept, done = 1 FROM rule_anew WHERE job = $1
		ORDER BY topic, part, rule`, r.Job)
}

// rules are the names of those that count all devices, and of those that did: an index
// has the names.
func (r *remaking) rules(ctx context.Context) ([]string, error) {
	names := map[string]bool{}
	for _, pos := range r.places {
		counting, err := acrossOf(ctx, r.db, pos)
		if err != nil {
			return nil, err
		}
		for _, one := range counting {
			names[one.Name] = true
		}
	}
	for name := ""; ; {
		var device string
		err := r.db.QueryRowContext(ctx, `SELECT rule, device_id FROM rule_result WHERE fleet = $1 AND rule > $2
			ORDER BY rule, window_end LIMIT 1`, r.Fleet, name).Scan(&name, &device)
		if errors.Is(err, sql.ErrNoRows) {
			return slices.Sorted(maps.Keys(names)), nil
		}
		if err != nil {
			return nil, err
		}
		if device == "" {
			names[name] = true
		}
	}
}

// behind tells whether time has passed all windows of a part that were touched, also those
// of which nothing was told.
func (r *remaking) behind(ctx context.Context, p *part) (bool, error) {
	pos, minutes := r.places[p.place], r.touched[p.place]
	if pos == nil || len(minutes) == 0 {
		return true, nil // another log: nothing is told of this one any more
	}
	counting, err := acrossOf(ctx, r.db, pos)
	if err != nil {
		return false, err
	}
	newest := minutes[len(minutes)-1] + minuteLong - 1
	for _, one := range counting {
		if one.Name != p.rule {
			continue
		}
		if _, last := one.window.grid.ends(one.window.grid.at(newest)); pos.moment <= last+one.window.lateness {
			return false, nil
		}
	}
	return true, nil
}
