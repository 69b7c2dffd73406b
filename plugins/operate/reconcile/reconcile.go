// Package reconcile proves weir's promise from durable data alone: it reads the log and the stores, not the stages
// that wrote them. Every record of the log must be stored, proven a duplicate, dead-lettered, erased on request, or
// still in flight.
package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/event"
	"weir/internal/platform/kafka"
	"weir/internal/platform/sqldb"
	"weir/plugins/store/lake"
	"weir/plugins/store/raw"
)

// Config says what is reconciled. The defaults are those of the stream configs.
type Config struct {
	Log             kafka.Cluster
	ClientID        string
	Raw, DeadLetter *lake.Store
	Events          string   // the name of the log of events; empty: telemetry
	Topics          []string // the topics of events
	DeadLetterTopic string
	RawGroup        string    // the group that processes Topics into the raw store
	DeadLetterGroup string    // the group that processes DeadLetterTopic
	Control         *sqldb.DB // the control store, with the state of rules; nil: rules are not reconciled
	Sampling        Sampling  // which results of rules are computed again
	Deep            bool      // read the coordinates of all rows, instead of trusting the objects' footers
}

// defaults fills in the fields that a config leaves empty.
func (c Config) defaults() Config {
	set := func(s *string, to string) {
		if *s == "" {
			*s = to
		}
	}
	telemetry := event.Logs()[0]
	set(&c.ClientID, "weir-reconcile")
	set(&c.DeadLetterTopic, telemetry.DeadLetters)
	set(&c.RawGroup, telemetry.GroupRaw())
	set(&c.DeadLetterGroup, telemetry.GroupDeadLetter)
	if len(c.Topics) == 0 {
		c.Topics = telemetry.Topics
	}
	return c
}

// Reconciler reconciles one deployment, any number of times. It keeps what it has read of the stores as long as the
// stores have it. It is not safe for concurrent use.
type Reconciler struct {
	conf      Config
	client    *kgo.Client
	admin     *kadm.Client
	raw, dead *shelf
	erased    erasedRecords
	later     *raw.LaterCheck
	books     *books // nil: they must be read again
	began     map[lake.Partition]began
	verified  map[lake.Partition]int64 // all records before this offset have been reconciled
	learned   map[lake.Partition][]republished
	replayed  map[lake.Partition]lake.Offsets // republished records whose first delivery is explained
	other     map[lake.Partition]lake.Offsets // replays for other stages
	markers   map[lake.Partition]lake.Offsets // offsets that hold no event
	compared  map[lake.Partition]lake.Offsets // duplicates whose event was compared with the one it repeats
	differing map[lake.Partition]lake.Offsets // those of compared that are another event
	logs      *kafka.Logs
	identity  map[string]kafka.Log // of the log of each topic, in the last run
}

// New returns a Reconciler. It connects to nothing yet.
func New(conf Config) (*Reconciler, error) {
	a := &Reconciler{
		conf: conf.defaults(), began: map[lake.Partition]began{},
		verified: map[lake.Partition]int64{}, learned: map[lake.Partition][]republished{},
		replayed: map[lake.Partition]lake.Offsets{}, other: map[lake.Partition]lake.Offsets{},
		markers: map[lake.Partition]lake.Offsets{}, compared: map[lake.Partition]lake.Offsets{},
		differing: map[lake.Partition]lake.Offsets{},
		raw:       newShelf(conf.Raw), dead: newShelf(conf.DeadLetter),
	}
	a.erased.store, a.later = conf.Raw, raw.NewLaterCheck(conf.Raw)
	if conf.Deep {
		a.raw.deep, a.dead.deep = readRaw, readDead
	}
	var err error
	if a.client, err = kgo.NewClient(a.options()...); err != nil {
		return nil, fmt.Errorf("connecting to the log: %w", err)
	}
	a.admin = kadm.NewClient(a.client)
	a.logs, a.identity = kafka.NewLogs(a.conf.Log, a.conf.ClientID), map[string]kafka.Log{}
	return a, nil
}

// Close closes the connections to the log. The stores belong to the caller.
func (a *Reconciler) Close() {
	a.client.Close()
	a.logs.Close()
}

// recognise forgets what is known of topics that were deleted and created again since the last run, because the same
// offsets are other records now.
func (a *Reconciler) recognise(ctx context.Context) (problems []string, err error) {
	topics := a.topics()
	now, err := a.logs.Of(ctx, time.Now(), topics...)
	if err != nil {
		return nil, err
	}
	for i, topic := range topics {
		before, known := a.identity[topic]
		a.identity[topic] = now[i]
		if !known || before == 0 || before == now[i] {
			continue
		}
		problems = append(problems, fmt.Sprintf("topic %s was made anew since the last run: what it held that no store "+
			"has is gone", topic))
		a.books, a.erased = nil, erasedRecords{store: a.conf.Raw}
		for _, sets := range []map[lake.Partition]lake.Offsets{a.replayed, a.other, a.markers, a.compared, a.differing} {
			maps.DeleteFunc(sets, func(p lake.Partition, _ lake.Offsets) bool { return p.Topic == topic })
		}
		maps.DeleteFunc(a.verified, func(p lake.Partition, _ int64) bool { return p.Topic == topic })
		maps.DeleteFunc(a.learned, func(p lake.Partition, _ []republished) bool { return p.Topic == topic })
		maps.DeleteFunc(a.began, func(p lake.Partition, _ began) bool { return p.Topic == topic })
	}
	return problems, nil
}

func (a *Reconciler) options() []kgo.Opt {
	return append(a.conf.Log.Options(a.conf.ClientID), kgo.RetryTimeout(20*time.Second))
}

func (a *Reconciler) topics() []string {
	return append([]string{a.conf.DeadLetterTopic}, a.conf.Topics...)
}

// Options are the options of one run.
type Options struct {
	From, To time.Time     // the range [From, To) of the records' times in the log; zero: no bound
	Wait     time.Duration // how long to wait for records in flight
	Waiting  func(*Report) // if not nil, it is called each time before the run waits
	// Glance omits the checks that read records of the log to find duplicates that are other events, and markers after
	// the last record. What earlier runs have found of these remains.
	Glance bool
}

// settleStep is how often a run checks whether records in flight have been stored.
const settleStep = 500 * time.Millisecond

// Run reconciles the records that the log has now, and those that it has deleted since the last run. It waits for
// those of them that are in flight, not for later ones.
func (a *Reconciler) Run(ctx context.Context, opt Options) (*Report, error) {
	report, err := a.run(ctx, opt)
	if err == nil {
		err = report.addRules(ctx, a.conf)
	}
	if err == nil && !opt.Glance {
		err = report.addSample(ctx, a.conf, &a.erased)
	}
	if err == nil && !opt.Glance {
		err = report.addEnriched(ctx, a.later, a.conf.Deep)
	}
	return report, a.conf.Log.Explain(err)
}

func (a *Reconciler) run(ctx context.Context, opt Options) (*Report, error) {
	deadline := time.Now().Add(opt.Wait)
	anew, err := a.recognise(ctx)
	if err != nil {
		return nil, err
	}
	reaches, starts, problems, err := a.reach(ctx, opt)
	if err != nil {
		return nil, err
	}
	problems = append(anew, problems...)
	a.forget(starts)
	since, err := a.since(ctx, reaches)
	if err != nil {
		return nil, err
	}
	round := newRound(a, reaches, starts)
	round.glance, round.whole = opt.Glance, opt.From.IsZero() && opt.To.IsZero()
	for tries := 1; ; tries++ {
		if err := round.weigh(ctx, since); err != nil {
			return nil, err
		}
		report := round.report(opt, problems)
		switch {
		case report.settled():
			a.note(report, opt)
			return report, nil
		case time.Now().Before(deadline), tries == 1 && report.Total.Unexplained > 0:
			// Look at least twice: a listing can miss an object that is being merged.
			if opt.Waiting != nil {
				opt.Waiting(report)
			}
		case report.Total.Unexplained > 0 && !since.IsZero():
			since = time.Time{} // before reporting a loss, read the stores from their beginning
			continue
		default:
			a.note(report, opt)
			return report, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(settleStep):
		}
		if err := round.advance(ctx); err != nil {
			return nil, err
		}
	}
}

// reach decides which offsets to reconcile. Of offsets that the log has deleted, these are the ones that no earlier
// run has reconciled and the ones that the responsible group had not processed.
func (a *Reconciler) reach(ctx context.Context, opt Options) (reaches map[lake.Partition]reach,
	starts map[lake.Partition]int64, problems []string, err error) {
	if reaches, err = a.look(ctx); err != nil {
		return nil, nil, nil, err
	}
	if len(reaches) == 0 {
		return nil, nil, nil, errors.New("finding the topics to reconcile: the log has none of them")
	}
	starts = map[lake.Partition]int64{}
	for p, at := range reaches {
		starts[p] = at.first
		seen, ok := a.verified[p]
		switch {
		case ok && seen > at.end:
			problems = append(problems, fmt.Sprintf("the log of %s ends at %d, and has ended at %d before: it has lost its "+
				"end, or was made anew", p, at.end, seen))
		case at.committed > at.end:
			problems = append(problems, fmt.Sprintf("the log of %s ends at %d, but group %s has processed it up to %d: it "+
				"has lost its end, or was made anew", p, at.end, a.groupOf(p.Topic), at.committed))
		case ok:
			at.first = min(at.first, seen)
		}
		at.first = min(at.first, at.committed)
		reaches[p] = at
	}
	cut := func(t time.Time, set func(at *reach, offset int64)) error {
		if t.IsZero() {
			return nil
		}
		offsets, err := inLake(kafka.Positions{Admin: a.admin}.After(ctx, t, a.topics()...))
		for p, offset := range offsets {
			if at, ok := reaches[p]; ok {
				set(&at, offset)
				reaches[p] = at
			}
		}
		return err
	}
	if err := cut(opt.From, func(at *reach, o int64) { at.first = max(at.first, min(o, at.end)) }); err != nil {
		return nil, nil, nil, err
	}
	err = cut(opt.To, func(at *reach, o int64) { at.end = max(at.first, min(at.end, o)) })
	return reaches, starts, problems, err
}

// note remembers up to which offset all records are explained or in flight.
func (a *Reconciler) note(r *Report, opt Options) {
	if !opt.From.IsZero() || !opt.To.IsZero() {
		return
	}
	for _, p := range r.Partitions {
		at := lake.Partition{Topic: p.Topic, Partition: p.Partition}
		if p.Unexplained == 0 && p.FalseDuplicates == 0 && p.InFlight == 0 {
			a.verified[at] = p.End
		} else if _, ok := a.verified[at]; !ok {
			a.verified[at] = p.First
		}
	}
}

// forget drops what is known of records that were reconciled and that the log has deleted since.
func (a *Reconciler) forget(starts map[lake.Partition]int64) {
	clear(a.raw.folders)
	for p, start := range starts {
		if seen, ok := a.verified[p]; ok {
			start = min(start, seen)
		}
		kept := a.learned[p][:0]
		for _, r := range a.learned[p] {
			if r.offset >= start {
				kept = append(kept, r)
				if r.folder != "" {
					a.raw.folders[r.folder] = true
				}
			}
		}
		a.learned[p] = kept
		gone := lake.NewOffsets(lake.Span{First: 0, Last: start - 1})
		for _, sets := range []map[lake.Partition]lake.Offsets{a.replayed, a.other, a.markers, a.compared, a.differing} {
			if set := sets[p]; len(set) > 0 && set[0].First < start {
				sets[p] = set.Minus(gone)
			}
		}
	}
}
