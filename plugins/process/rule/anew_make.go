package rule

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"weir/internal/event"
	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
)

// remaking is a round of making an erasure's sums anew.
type remaking struct {
	Anew
	db      *sqldb.DB
	touched map[place][]int64 // minutes
	places  map[place]*position
	sets    map[string]*Set
	samples map[place]Sample
}

// anewPage bounds the results that are looked at together.
const anewPage = 1000

// Why a sum stays as it is, beside the reasons for which a result is not computed again:
// it is not what the stored events come to and as many more as were erased.
const keptDiffers = "differs"

// goOver makes a part's sums anew until it is time, or the next one waits.
func (r *remaking) goOver(ctx context.Context, p *part) error {
	for !p.done && !p.waits {
		page, err := r.page(ctx, p)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			behind, err := r.behind(ctx, p)
			if err != nil || !behind {
				p.waits = true
				return err
			}
			return r.write(ctx, p, piece{last: toldAgain{end: math.MaxInt64}})
		}
		for len(page) > 0 && !p.waits {
			if time.Now().After(r.By) {
				return nil
			}
			if err := r.Held(); err != nil {
				return err
			}
			one, err := r.next(ctx, p, page)
			if err != nil {
				return err
			}
			page = page[one.rows:]
			if one.rows == 0 {
				p.waits = true
				return nil
			}
			if err := r.make(ctx, p, &one); err != nil {
				return err
			}
			if err := r.write(ctx, p, one); err != nil {
				return err
			}
		}
	}
	return nil
}

// toldAgain is a result that may be made anew.
type toldAgain struct {
	*telling
	end int64
	id  string
}

// page reads the newest revisions of results behind those that a part has been over.
// Sums of windows that end by the first touched minute have counted nothing.
func (r *remaking) page(ctx context.Context, p *part) ([]toldAgain, error) {
	minutes := r.touched[p.place]
	if len(minutes) == 0 {
		return nil, nil
	}
	after, id := p.end, p.id
	if after < minutes[0] {
		after, id = minutes[0], "~" // behind all ids: they are hexadecimal
	}
	return sqldb.All(ctx, r.db, func(row sqldb.Row) (one toldAgain, err error) {
		var text sql.RawBytes
		if err = row.Scan(&one.id, &one.end, &text); err == nil {
			one.telling = &telling{}
			err = json.Unmarshal(text, one.telling)
		}
		return one, err
	}, fmt.Sprintf(`SELECT r.id, r.window_end, r.result FROM rule_result r WHERE r.fleet = $1 AND r.rule = $2
		AND r.window_end >= $3 AND (r.window_end > $3 OR r.id > $4) AND r.device_id = ''
		AND NOT EXISTS (SELECT 1 FROM rule_result n WHERE n.id = r.id AND n.revision > r.revision)
		ORDER BY r.window_end, r.id LIMIT %d`, anewPage), r.Fleet, p.rule, after, id)
}

// piece is some results, whose events are read together, and written in one transaction.
type piece struct {
	targets  []*target
	from, to int64 // the time that their windows span
	rows     int   // how many results it goes over, with those that need not be made
	last     toldAgain
	changed  []Result
	kept     map[string]int64
}

// target is a result, and what the events that are left come to.
type target struct {
	told       *telling
	from       *origin
	start, end int64
	sum        pane
	again      bool // some were published again
	read       map[*Reading]bool
}

// anewSpan is how much time is read at once, where windows are shorter.
const anewSpan = int64(time.Hour / time.Microsecond)

// next takes the first results of a page of which the events are to be read together. It
// takes none when the first of them waits.
func (r *remaking) next(ctx context.Context, p *part, page []toldAgain) (one piece, err error) {
	one.kept = map[string]int64{}
	for _, told := range page {
		start, end := told.Start.UnixMicro(), told.end
		touched, err := r.wants(p, told)
		if err != nil {
			return one, err
		}
		if touched && len(one.targets) > 0 && end-one.from > max(anewSpan, end-start) {
			return one, nil
		}
		if touched {
			sample, err := r.sample(ctx, p.place)
			if err != nil {
				return one, err
			}
			o, why, err := sample.origin(ctx, r.db, r.sets, told.telling)
			switch {
			case err != nil:
				return one, err
			case why == SkippedOpen || why == SkippedAhead:
				return one, nil
			case why != "":
				one.kept[why]++
			default:
				if one.targets == nil {
					one.from = start
				}
				one.from, one.to = min(one.from, start), end
				one.targets = append(one.targets, &target{told: told.telling, from: o, start: start, end: end,
					read: map[*Reading]bool{o.read.at(o.last): true}})
			}
		}
		one.rows++
		one.last = told
	}
	return one, nil
}

// wants tells whether a result is the part's, and can have counted what was erased.
func (r *remaking) wants(p *part, told toldAgain) (bool, error) {
	if told.Status == statusRetracted {
		return false, nil
	}
	first, err := event.ParseCoordinates(told.First)
	if err != nil || (place{first.Topic, first.Partition}) != p.place {
		return false, err
	}
	minutes := r.touched[p.place]
	i, _ := slices.BinarySearch(minutes, floor(told.Start.UnixMicro(), minuteLong))
	return i < len(minutes) && minutes[i] < told.end, nil
}

// sample is by what a partition's results are made.
func (r *remaking) sample(ctx context.Context, at place) (Sample, error) {
	if s, known := r.samples[at]; known {
		return s, nil
	}
	s, err := r.Of(ctx, at.topic, at.number, time.UnixMicro(r.touched[at][0]))
	if err == nil {
		s.Events = &knownDays{Events: s.Events, of: map[int64]bool{}}
		r.samples[at] = s
	}
	return s, err
}

// knownDays asks for each day of a fleet once.
type knownDays struct {
	Events
	of map[int64]bool
}

func (k *knownDays) Days(ctx context.Context, fleet string, from, to int64) (bool, error) {
	const day = int64(24 * time.Hour / time.Microsecond)
	for at := floor(from, day); at <= to; at += day {
		is, known := k.of[at]
		if !known {
			var err error
			if is, err = k.Events.Days(ctx, fleet, at, at); err != nil {
				return false, err
			}
			k.of[at] = is
		}
		if !is {
			return false, nil
		}
	}
	return true, nil
}

// alike are targets of a rule as it counts since one time, by their keys.
type alike struct {
	from *origin // of the first of them
	p    *partition
	of   map[string][]*target
}

// make reads a piece's events, each once, and decides of its results.
func (r *remaking) make(ctx context.Context, p *part, one *piece) error {
	if len(one.targets) == 0 {
		return nil
	}
	groups := map[string]*alike{}
	for _, t := range one.targets {
		g := groups[t.from.Epoch]
		if g == nil {
			g = &alike{from: t.from, p: t.from.partition(), of: map[string][]*target{}}
			groups[t.from.Epoch] = g
		}
		g.of[t.from.name] = append(g.of[t.from.name], t)
	}
	s := r.samples[p.place]
	err := s.Events.Of(ctx, Wanted{Fleet: r.Fleet, Topic: p.topic, Partition: p.number, From: one.from, To: one.to - 1},
		one.targets[0].from.by, func(e Stored) error {
			for _, g := range groups {
				if err := g.add(e); err != nil {
					return err
				}
			}
			return nil
		})
	if err != nil {
		return err
	}
	for _, t := range one.targets {
		now, why, err := t.decide(ctx, r.db, s, groups[t.from.Epoch].p)
		switch {
		case err != nil:
			return fmt.Errorf("the result %s: %w", t.told.ID, err)
		case why != "":
			one.kept[why]++
		case now != nil:
			one.changed = append(one.changed, *now)
		}
	}
	return nil
}

// add counts an event in the windows that have it, as the rule did: what lies behind the
// last event that a window counted was too late for it.
func (g *alike) add(e Stored) error {
	one, is, err := g.from.takes(e)
	if err != nil || !is {
		return err
	}
	p, op := g.p, g.from.operator
	if err := p.reader.Read(one.raw); err != nil {
		return fmt.Errorf("reading a stored event: %w", err)
	}
	p.keyed, p.found, p.peers = nil, false, nil
	if op.where != nil {
		if yes, err := op.where.True(p.reader); err != nil || !yes {
			return nil // it failed, or is none of the rule's
		}
	}
	if err := p.evaluate(op.Rule, &one.record); err != nil {
		return nil // the rule counts it as failed
	}
	of := g.of[string(p.key)]
	i, _ := slices.BinarySearchFunc(of, one.At+1, func(t *target, at int64) int { return int(min(max(t.end-at, -1), 1)) })
	for ; i < len(of) && of[i].start <= one.At; i++ {
		if t := of[i]; one.Offset <= t.from.last {
			t.sum.add(op.cols, &one.record, p.args)
			t.again = t.again || one.again
			t.read[t.from.read.at(one.Offset)] = true
		}
	}
	return nil
}

// decide makes the result anew; it is nil when the result is right as it is, or has to
// stay, by why.
func (t *target) decide(ctx context.Context, db *sqldb.DB, s Sample, p *partition) (*Result, string, error) {
	o := t.from
	fleet, _, _ := strings.Cut(o.name, "\x00")
	k := &keyState{name: o.name, form: o.as(fleet)}
	before := told{window: o.window(t.told), end: t.end, revision: t.told.Revision + 1, final: true}
	if t.sum.n > 0 {
		k.told = []told{before}
		p.result(o.operator, k, window{id: before.window, start: t.start, end: t.end, status: statusFinal}, &t.sum)
	} else { // nobody else was there
		p.retract(o.operator, k, before, math.MinInt64)
	}
	made := p.out[0]
	p.out = p.out[:0]
	if made.ID != t.told.ID || made.Revision != before.revision {
		return nil, "", errors.New("made anew, it is another")
	}
	var now *telling
	if t.sum.n > 0 {
		now = &telling{}
		if err := json.Unmarshal(made.JSON, now); err != nil {
			return nil, "", err
		}
	}
	c := checked{what: o.differing(t.told, now)}
	if len(c.what) == 0 {
		return nil, "", nil
	}
	why, err := o.tellsNothing(ctx, s, t.told, t.again, t.read)
	if err == nil && why == "" {
		err = o.unlist(ctx, db, t.told, &c)
	}
	if err != nil || why != "" || len(c.what) == 0 { // of sketches alone somebody was missing who came again
		return &made, why, err
	}
	n, err := o.without(ctx, s, t.told, now)
	if n == 0 {
		why = keptDiffers
	}
	return &made, why, err
}

// write writes new revisions in the place of those before, and how far the part is then.
func (r *remaking) write(ctx context.Context, p *part, one piece) error {
	made, kept := int64(0), map[string]int64{}
	for _, of := range []map[string]int64{p.kept, one.kept} {
		for why, n := range of {
			kept[why] += n
		}
	}
	text, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	done := one.last.end == math.MaxInt64
	err = tombstone.Update(ctx, r.db, func(tx *sql.Tx) error {
		for _, c := range one.changed {
			n, err := deleted(tx.ExecContext(ctx, `INSERT INTO rule_result (id, revision, rule, fleet, device_id, window_end,
				recorded_at, result) SELECT id, revision + 1, rule, fleet, device_id, window_end, recorded_at, CAST($3 AS TEXT)
				FROM rule_result r WHERE id = $1 AND revision = $2
				AND NOT EXISTS (SELECT 1 FROM rule_result n WHERE n.id = r.id AND n.revision > r.revision)`, c.ID, c.Revision-1,
				string(c.JSON)))
			if made += n; err != nil || n == 0 {
				return errors.Join(err, errElsewhere)
			}
			if _, err := tx.ExecContext(ctx, `DELETE FROM rule_result WHERE id = $1 AND revision < $2`, c.ID,
				c.Revision); err != nil {
				return err
			}
		}
		n, err := deleted(tx.ExecContext(ctx, `UPDATE rule_anew SET at_end = $5, at_id = $6, made = made + $7, kept = $8,
			done = $9 WHERE job = $1 AND topic = $2 AND part = $3 AND rule = $4 AND at_end = $10 AND at_id = $11 AND done = 0`,
			r.Job, p.topic, p.number, p.rule, one.last.end, one.last.id, made, string(text), bit(done), p.end, p.id))
		if err == nil && n != 1 {
			err = errElsewhere
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("writing results anew: %w", err)
	}
	p.end, p.id, p.made, p.kept, p.done = one.last.end, one.last.id, p.made+made, kept, done
	if made > 0 {
		bellOf(r.db).ring()
	}
	return nil
}
