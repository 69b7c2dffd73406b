package reconcile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/event"
	"weir/plugins/store/lake"
)

// round is the state of one run: what it covers, and the findings of its last look.
type round struct {
	a        *Reconciler
	reaches  map[lake.Partition]reach // their ends are fixed when the run begins
	starts   map[lake.Partition]int64 // the start of the log
	evidence evidence
	found    map[lake.Partition]finding // in a glance: only after the closed part
	counts   map[lake.Partition]Counts
	now      map[lake.Partition]reach        // as of the time at which the stores were read
	looked   map[lake.Partition]lake.Offsets // unexplained offsets whose records were read from the log
	present  map[lake.Partition]lake.Offsets // those of looked that have a record
	probed   map[lake.Partition]lake.Offsets // offsets that were checked for markers
	spent    int64                           // how many records were read to compare duplicates
	objects  int
	glance   bool
	whole    bool // the run has no range of times
	problems []string
	letters  map[lake.Partition]lake.Offsets // the offsets of dead letters that were read from the log
	origins  map[lake.Partition]lake.Offsets // the records that these came from
}

// republished is a record of the log that represents another one: of a replay or a redrive.
type republished struct {
	offset int64
	of     event.Coordinates
	folder string // the folder of the raw store that has the other record, if that is old
}

func newRound(a *Reconciler, reaches map[lake.Partition]reach, starts map[lake.Partition]int64) *round {
	none := func() map[lake.Partition]lake.Offsets { return map[lake.Partition]lake.Offsets{} }
	return &round{a: a, reaches: reaches, starts: starts, looked: none(), present: none(), probed: none(), letters: none(),
		origins: none()}
}

// advance reads the groups' committed offsets again.
func (r *round) advance(ctx context.Context) error {
	now, err := r.a.look(ctx)
	if err != nil {
		return err
	}
	for p, at := range r.reaches {
		if n, ok := now[p]; ok {
			at.committed, at.start = n.committed, n.start
			r.reaches[p] = at
		}
	}
	return nil
}

// readMost bounds the records that are examined before the stores are read again.
const readMost = 100_000

var errEnough = errors.New("enough records")

// weigh reads the stores and judges every record. A record that no store explains is read from the log: it may be of a
// replay, and represent another record.
func (r *round) weigh(ctx context.Context, since time.Time) error {
	for {
		if err := r.gather(ctx, since); err != nil {
			return err
		}
		examined := 0
		for p, f := range r.found {
			if p.Topic == r.a.conf.DeadLetterTopic {
				continue
			}
			left := f.unexplained.Minus(r.looked[p])
			if left.Count() == 0 {
				continue
			}
			n, err := r.examineAll(ctx, p, left, readMost-examined)
			if err != nil && !errors.Is(err, errEnough) {
				return err
			}
			if examined += n; err != nil {
				break
			}
		}
		if examined > 0 {
			continue
		}
		found, err := r.findMarkers(ctx)
		if err == nil && !found && !r.glance {
			found, err = r.compare(ctx, since)
		}
		if err != nil || !found {
			return err
		}
	}
}

// examineAll reads some records of one partition from the log and examines them.
func (r *round) examineAll(ctx context.Context, p lake.Partition, set lake.Offsets, most int) (n int, err error) {
	there := set.And(lake.NewOffsets(lake.Span{First: r.now[p].start, Last: r.now[p].end - 1}))
	err = r.a.read(ctx, map[lake.Partition]lake.Offsets{p: there}, func(record *kgo.Record) error {
		if n == most {
			set = set.And(lake.NewOffsets(lake.Span{First: 0, Last: record.Offset - 1}))
			return errEnough
		}
		n++
		if again, ok := r.examine(record); ok {
			r.a.learned[p] = append(r.a.learned[p], again)
		} else {
			r.present[p] = with(r.present[p], record.Offset)
		}
		return nil
	})
	if err == nil || errors.Is(err, errEnough) {
		r.looked[p] = r.looked[p].Union(set)
	}
	return n, err
}

// with adds an offset to a set; mostly it is the next one.
func with(set lake.Offsets, offset int64) lake.Offsets {
	if n := len(set); n > 0 && set[n-1].Last+1 == offset {
		set[n-1].Last = offset
		return set
	} else if n == 0 || set[n-1].Last < offset {
		return append(set, lake.Span{First: offset, Last: offset})
	}
	return set.Union(lake.Offsets{{First: offset, Last: offset}})
}

// gather collects the evidence and judges by it.
func (r *round) gather(ctx context.Context, since time.Time) (err error) {
	books, err := r.a.collect(ctx, since)
	if err != nil {
		return err
	}
	r.objects, r.problems = books.objects, books.problems
	learned := newEvidence()
	for p, list := range r.a.learned {
		for _, again := range list {
			learned.duplicates[p] = append(learned.duplicates[p], lake.Duplicate{Offset: again.offset, Of: again.of})
		}
	}
	learned.tidy()
	r.evidence = books.evidence.with(learned)
	if err := r.readLetters(ctx); err != nil {
		return err
	}
	for p, set := range r.origins {
		r.evidence.dead[p] = r.evidence.dead[p].Union(set)
	}
	r.settleLearned()
	r.evidence.replayed, r.evidence.other, r.evidence.markers, r.evidence.differing = r.a.replayed, r.a.other, r.a.markers,
		r.a.differing
	r.judge(books)
	return nil
}

// judge judges the records that are not closed, and closes those that it can.
func (r *round) judge(books *books) {
	r.found, r.counts = map[lake.Partition]finding{}, map[lake.Partition]Counts{}
	for p, at := range r.reaches {
		rest, counts := books.rest(p, at, r.glance)
		f := r.evidence.judge(p, rest, r.reaches)
		if r.whole {
			books.close(p, at.first, rest, counts, &f)
		}
		counts.Add(f.counts(rest))
		r.found[p], r.counts[p] = f, counts
	}
}

// settleLearned reduces replayed records whose first delivery is explained to their offsets, because a replay can be
// as long as the log.
func (r *round) settleLearned() {
	for p, list := range r.a.learned {
		kept := list[:0]
		for _, again := range list {
			if r.evidence.follow(again.of, r.reaches) == proven {
				r.a.replayed[p] = with(r.a.replayed[p], again.offset)
			} else {
				kept = append(kept, again)
			}
		}
		r.a.learned[p] = kept
	}
}

// readLetters reads the dead letters that are in the log and not in the store yet: the records that they came from
// count as dead-lettered.
func (r *round) readLetters(ctx context.Context) error {
	var err error
	if r.now, err = r.a.look(ctx); err != nil {
		return err
	}
	wanted := map[lake.Partition]lake.Offsets{}
	for p, at := range r.now {
		if p.Topic != r.a.conf.DeadLetterTopic {
			continue
		}
		if left := at.offsets().Minus(r.evidence.stored[p]).Minus(r.evidence.erased[p]).Minus(
			r.letters[p]); left.Count() > 0 {
			wanted[p] = left
		}
	}
	err = r.a.read(ctx, wanted, func(record *kgo.Record) error {
		var envelope struct {
			Origin *struct {
				Topic     string `json:"topic"`
				Partition int32  `json:"partition"`
				Offset    int64  `json:"offset"`
				Log       string `json:"log"`
			} `json:"origin"`
		}
		if json.Unmarshal(record.Value, &envelope) == nil && envelope.Origin != nil { // else it came from no record
			o := envelope.Origin
			if today := r.a.identity[o.Topic].String(); today != "" && o.Log != "" && o.Log != today {
				return nil // another record has these coordinates now
			}
			p := lake.Partition{Topic: o.Topic, Partition: o.Partition}
			r.origins[p] = with(r.origins[p], o.Offset)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for p, set := range wanted {
		r.letters[p] = r.letters[p].Union(set)
	}
	return nil
}

// examine reports whether a record represents another one. It notes a replayed record that is not for the raw store.
func (r *round) examine(record *kgo.Record) (again republished, ok bool) {
	if target := headerOf(record, event.HeaderTarget); target != "" && !event.HasFlag(target, event.TargetRaw) {
		p := lake.Partition{Topic: record.Topic, Partition: record.Partition}
		r.a.other[p] = with(r.a.other[p], record.Offset)
	}
	again.offset = record.Offset
	first, log, ok := event.ParseDelivery(headerOf(record, event.HeaderDelivery))
	if !ok {
		return again, false
	}
	again.of = first
	if log == "" && r.evidence.follow(first, r.reaches) != unproven {
		return again, true
	}
	// It was stored long ago: read the folder where it must be. A record that was first delivered in another log
	// represents itself; the store may have a row of that log for it.
	var e event.Event
	if s, ok := sight(record, &e); ok {
		again.folder = s.folder
		r.a.raw.folders[again.folder] = true
	}
	return again, log == ""
}

// report makes the report of the last look's findings.
func (r *round) report(opt Options, problems []string) *Report {
	out := &Report{At: time.Now().UTC(), Deep: r.a.conf.Deep, Objects: r.objects, Compared: r.compared(),
		Partitions: []PartitionReport{}, Problems: slices.Concat([]string{}, problems, r.problems, r.beyond())}
	if !opt.From.IsZero() {
		out.From = &opt.From
	}
	if !opt.To.IsZero() {
		out.To = &opt.To
	}
	for p, f := range r.found {
		at := r.reaches[p]
		pr := PartitionReport{Topic: p.Topic, Partition: p.Partition, First: at.first, End: at.end, Committed: at.committed,
			Counts: r.counts[p], Ranges: ranges(f.unexplained.Union(f.differing), r.reasons(p, f))}
		out.Total.Add(pr.Counts)
		out.Partitions = append(out.Partitions, pr)
	}
	slices.SortFunc(out.Partitions, PartitionReport.before)
	return out
}

// beyond names partitions of which a store has offsets that the log has not reached.
func (r *round) beyond() (problems []string) {
	for p, at := range r.now {
		last := int64(-1)
		for _, set := range []lake.Offsets{r.evidence.stored[p], r.evidence.erased[p]} {
			if n := len(set); n > 0 {
				last = max(last, set[n-1].Last)
			}
		}
		if last >= at.end {
			problems = append(problems, fmt.Sprintf("a store holds record %s/%d, but the log of it ends at %d: it has lost "+
				"its end, or was made anew", p, last, at.end))
		}
	}
	slices.Sort(problems)
	return problems
}

// reasons groups the unexplained records by reason.
func (r *round) reasons(p lake.Partition, f finding) []reason {
	gone := lake.NewOffsets(lake.Span{First: 0, Last: r.starts[p] - 1})
	var repeats []lake.Span
	for _, s := range f.unexplained {
		for _, d := range r.evidence.within(p, reach{first: s.First, end: s.Last + 1}) {
			repeats = append(repeats, lake.Span{First: d.Offset, Last: d.Offset})
		}
	}
	out := []reason{
		{set: f.differing, text: "said to repeat a record that is another event"},
		{set: lake.NewOffsets(repeats...), text: "said to repeat a record that nothing explains"},
		{set: gone, text: "gone from the log, and in no store"},
		{set: r.present[p], text: "in the log, passed by group " + r.a.groupOf(p.Topic) + ", and in no store"},
	}
	if p.Topic == r.a.conf.DeadLetterTopic {
		return append(out, reason{rest: true, text: "passed by group " + r.a.conf.DeadLetterGroup +
			", and not in the dead-letter store"})
	}
	return append(out, reason{rest: true, text: "the log holds no record there"})
}
