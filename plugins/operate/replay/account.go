package replay

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Account counts the outcomes of repeating a look-up that had failed when its events arrived. LookedAt is the sum of
// the others.
type Account struct {
	Lookup   string `json:"lookup"`
	LookedAt int64  `json:"looked_at"` // events for which the look-up had failed
	Enriched int64  `json:"enriched"`  // it was answered, and the answer is stored beside the event
	Already  int64  `json:"already"`   // another job has stored an answer before
	NotFound int64  `json:"not_found"` // the source has no answer for the key
	// KeyNotStored counts events that cannot be enriched later, because the key of the look-up, such as a network
	// address, is not stored with them.
	KeyNotStored  int64 `json:"key_not_stored"`
	FailedAgain   int64 `json:"failed_again"`
	Refused       int64 `json:"refused"`        // the stream failed the event
	NotConfigured int64 `json:"not_configured"` // the stream has no look-up of this name
	Erased        int64 `json:"erased"`         // the event was erased meanwhile
}

// add adds the counts of another account.
func (a *Account) add(o *Account) {
	a.LookedAt += o.LookedAt
	a.Enriched += o.Enriched
	a.Already += o.Already
	a.NotFound += o.NotFound
	a.KeyNotStored += o.KeyNotStored
	a.FailedAgain += o.FailedAgain
	a.Refused += o.Refused
	a.NotConfigured += o.NotConfigured
	a.Erased += o.Erased
}

// Line describes the account in words.
func (a *Account) Line() string {
	var parts []string
	for _, part := range []struct {
		n    int64
		what string
	}{{a.Enriched, "enriched"}, {a.Already, "enriched before"}, {a.NotFound, "not found"},
		{a.KeyNotStored, "cannot be enriched later: their key is not stored"}, {a.FailedAgain, "failed again"},
		{a.Refused, "refused"}, {a.NotConfigured, "of no look-up that the stream has"}, {a.Erased, "erased meanwhile"}} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", part.n, part.what))
		}
	}
	return strings.Join(parts, ", ")
}

// account adds the outcomes of look-ups. It replaces the list instead of changing it, because others read it.
func (p *Progress) account(more map[string]*Account) {
	if len(more) == 0 {
		return
	}
	all := slices.Clone(p.Lookups)
	for _, name := range slices.Sorted(maps.Keys(more)) {
		i, there := slices.BinarySearchFunc(all, name, func(a Account, name string) int {
			return strings.Compare(a.Lookup, name)
		})
		if !there {
			all = slices.Insert(all, i, Account{Lookup: name})
		}
		all[i].add(more[name])
	}
	p.Lookups = all
}

// sum returns the sum over all look-ups.
func (p *Progress) sum() (all Account) {
	for i := range p.Lookups {
		all.add(&p.Lookups[i])
	}
	return all
}

const lookupsMost = 32

// checkEnrich refuses a Spec that no job of the mode enrich can do.
func (s *Spec) checkEnrich() error {
	switch {
	case s.From == nil || s.To == nil:
		return errors.New("from and to: an enrich needs both, RFC 3339 with a zone")
	case len(s.Stages)+len(s.Codes)+len(s.IDs) > 0 || s.Patch != "":
		return errors.New("stages, codes, ids and patch are for the mode redrive")
	case len(s.Targets) > 0:
		return errors.New("targets: an enrich publishes nothing")
	case s.DryRun:
		return errors.New("dry_run: it would have to ask; the estimate says how many events it reads")
	case len(s.Lookups) > lookupsMost:
		return fmt.Errorf("lookups: at most %d", lookupsMost)
	case slices.Contains(s.Lookups, ""):
		return errors.New("lookups: a name is empty")
	}
	return nil
}
