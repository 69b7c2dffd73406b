package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"weir/internal/event"
	"weir/internal/platform/httpx"
	"weir/plugins/operate/recount"
	"weir/plugins/store/raw"
)

// The limits of one step, after which answers are stored and the position moves.
const (
	asksMost      = 500 // look-ups; an answer may have 64 KiB
	askBytes      = 8 << 20
	askEvents     = 50_000 // events that are read for it
	asksAgain     = 3      // how often a failed look-up is repeated
	firstAskAgain = time.Second
)

// noTopic is the topic of messages for look-ups. It cannot exist: if a stream passes such messages to its output,
// nothing of them is stored.
const noTopic = "/enrich"

// The outcomes of a look-up in metrics.
const (
	lookedEnriched = "enriched"
	lookedFailed   = "failed"
)

var errNoLookups = errors.New("this weir enriches nothing later: its stream of replays has no look-ups; " +
	"see docs/enrich.md")

// errUnended is the error that messages for look-ups reach the stream's output, which must not write them.
var errUnended = errors.New("look-ups come back unasked: the stream of replays has enriches: true, and its pipeline " +
	"lets them through to the output; give it the case for local_enrich that ends in replay_enriched, as the shipped " +
	"stream has it, and resume the job: docs/enrich.md")

// How often, and for how long, the stream may return the same look-ups before the job fails. A stream that is stopping
// returns them too.
const (
	unendedMost = 3
	unendedFor  = 5 * time.Second
)

// enrich repeats look-ups that failed for stored events. The answers are stored beside the events, which do not
// change, so each stays counted once.
//
// It goes step by step: it reads some events, repeats their look-ups, stores the answers, and then moves the position.
// After a crash at most the look-ups of one step are repeated. Answers that were stored before the crash are
// recognised as the job's own, so each event counts once in the account, too.
func (r *run) enrich(ctx context.Context) error {
	if r.later == nil {
		return errNoLookups
	}
	s := &step{run: r, laters: r.later.read(ctx, *r.job.To)}
	defer s.laters.Close()
	s.begin()
	_, after := r.flight.state()
	err := r.events.Scan(ctx, r.job.stored(), after, func(e recount.Event) error {
		if err := s.add(e); err != nil {
			return err
		}
		if s.read < int64(r.pace.second(askEvents)) && len(s.asks) < asksMost && s.bytes < askBytes {
			return nil
		}
		return s.end(ctx)
	})
	if err == nil && s.read > 0 {
		err = s.end(ctx)
	}
	if err != nil {
		return fmt.Errorf("enriching stored events: %w", err)
	}
	return nil
}

// step has the events whose look-ups are repeated, stored and counted together.
type step struct {
	*run
	laters   laters
	last     recount.Event
	read     int64
	bytes    int
	asks     []*question
	accounts map[string]*Account
}

func (s *step) begin() { s.read, s.bytes, s.asks, s.accounts = 0, 0, nil, map[string]*Account{} }

// of returns the account of a look-up.
func (s *step) of(lookup string) *Account {
	a := s.accounts[lookup]
	if a == nil {
		a = &Account{Lookup: lookup}
		s.accounts[lookup] = a
	}
	return a
}

// add adds the failed look-ups of an event, except those that were enriched before.
func (s *step) add(e recount.Event) error {
	s.last = e
	s.read++
	failed := event.Items(e.Row.EnrichFailed)
	if len(s.job.Lookups) > 0 {
		failed = slices.DeleteFunc(failed, func(name string) bool { return !slices.Contains(s.job.Lookups, name) })
	}
	if len(failed) == 0 {
		return nil
	}
	had, err := s.laters.Of(e.Row)
	if err != nil {
		return err
	}
	slices.Sort(failed)
	for _, name := range slices.Compact(failed) {
		account := s.of(name)
		account.LookedAt++
		i := slices.IndexFunc(had, func(l *raw.Later) bool { return l.Lookup == name })
		switch {
		case i < 0:
			a, err := newQuestion(e, name)
			if err != nil {
				return err
			}
			a.later.Job = s.job.ID
			s.asks = append(s.asks, a)
			s.bytes += len(a.sent)
		case had[i].Job == s.job.ID: // stored before a crash, and not counted
			account.Enriched++
		default:
			account.Already++
		}
	}
	return nil
}

// end repeats the look-ups, stores their answers and counts the outcomes.
func (s *step) end(ctx context.Context) (err error) {
	if err := s.pace.wait(ctx, int(s.read)); err != nil {
		return err
	}
	asking, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	defer func() {
		if errors.Is(err, errUnended) {
			s.flight.empty()
		}
	}()
	open := s.asks
	for try := 0; len(open) > 0; try++ {
		for some := range slices.Chunk(open, s.batch) {
			p := &parcel{back: s.unended(asking, fail)}
			for _, a := range some {
				a.set(said{outcome: askDropped})
				p.messages = append(p.messages, a.message)
			}
			p.settle = func(_ context.Context, refused map[int]*event.Rejection) error {
				for i, why := range refused {
					some[i].refused(why)
				}
				return nil
			}
			if err := s.send(asking, p); err != nil {
				return err
			}
		}
		if err := s.flight.below(asking, 1); err != nil {
			return err
		}
		open = slices.DeleteFunc(slices.Clone(open), func(a *question) bool {
			return a.answer().outcome != event.EnrichedFailed
		})
		if try == asksAgain || len(open) == 0 {
			break
		}
		s.pace.note(fmt.Sprintf("waits for look-ups that fail: %d are asked again", len(open)))
		if err := sleep(ctx, firstAskAgain<<try); err != nil {
			return err
		}
	}
	return s.keep(ctx)
}

// unended notes in the job that the stream has returned look-ups, and fails the job when that goes on.
func (s *step) unended(asking context.Context, fail context.CancelCauseFunc) func(error) {
	var times atomic.Int64
	begun := time.Now()
	return func(why error) {
		if asking.Err() != nil { // the job has failed or is held
			return
		}
		err := fmt.Errorf("%w (it says: %s)", errUnended, httpx.Plain(why))
		s.pace.note("asks in vain: " + err.Error())
		if times.Add(1) >= unendedMost && time.Since(begun) >= unendedFor {
			fail(err)
		}
	}
}

// keep stores the answers, and counts all outcomes.
func (s *step) keep(ctx context.Context) (err error) {
	var rows []raw.Later
	for _, a := range s.asks {
		account, said := s.of(a.later.Lookup), a.answer()
		switch said.outcome {
		case event.EnrichedFound:
			if a.later.Facts, err = difference(a.sent, said.event); err != nil {
				return err
			}
			a.later.Version, a.later.EnrichedAt = said.version, time.Now().UnixMicro()
			rows = append(rows, a.later)
			account.Enriched++
		case event.EnrichedAbsent:
			account.NotFound++
		case event.EnrichedNoKey:
			account.KeyNotStored++
		case event.EnrichedFailed:
			account.FailedAgain++
			s.looked(lookedFailed, 1)
		case "":
			account.NotConfigured++
		default: // askRefused, askDropped
			account.Refused++
		}
	}
	if len(rows) > 0 {
		erased, err := s.later.Write(ctx, rows)
		if err != nil {
			return err
		}
		for i := range erased {
			account := s.of(erased[i].Lookup)
			account.Enriched--
			account.Erased++
		}
		s.looked(lookedEnriched, int64(len(rows)-len(erased)))
	}
	p := &parcel{mode: Enrich, read: s.read, accounts: s.accounts}
	if p.position, err = s.last.Position(); err != nil {
		return err
	}
	s.flight.add(p)
	s.begin()
	return nil
}

// newQuestion makes the message that repeats a look-up for a stored event.
func newQuestion(e recount.Event, lookup string) (*question, error) {
	msg, err := e.Message()
	if err != nil {
		return nil, err
	}
	a := &question{message: msg, later: raw.LaterOf(e.Row)}
	a.later.Lookup = lookup
	if a.sent, err = msg.AsBytes(); err != nil {
		return nil, err
	}
	msg.MetaSetMut(event.MetaEnrich, lookup)
	msg.MetaSetMut(metaTopic, noTopic)
	msg.MetaSetMut(metaAsk, a)
	return a, nil
}
