package quality

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"weir/plugins/store/lake"
)

// evidence is what objects say of themselves of an hour.
type evidence struct {
	mark
	repeats repeats
}

// footers reads what the objects of an hour say of themselves: which deliveries they
// have, and which duplicates there are of these, also in objects that were written
// then.
func (j *job) footers(ctx context.Context, c *content, final bool) (e evidence, err error) {
	e.mark = mark{Names: c.names(final), Final: final}
	own := map[string]bool{}
	for _, o := range c.events {
		own[o.Key] = true
	}
	beside, besides := []lake.Object{}, map[string]bool{}
	for _, o := range c.about {
		if !own[o.Key] {
			beside = append(beside, o)
			besides[o.Key] = true
		}
	}
	stored := map[lake.Partition][]lake.Span{}
	narrow := map[lake.Partition][]lake.Span{}
	var unproven []string // rows of no log
	var all []lake.Coverage
	err = j.Events.Footers(ctx, slices.Concat(c.events, beside), func(f lake.Footer) error {
		all = append(all, lake.Coverage{Duplicates: f.Coverage.Duplicates})
		if besides[f.Key] {
			return nil
		}
		if f.Rows > 0 && len(f.Coverage.Stored) == 0 {
			unproven = append(unproven, f.Key)
		}
		for p, spans := range f.Coverage.Stored {
			stored[p] = append(stored[p], spans...)
			if !isWide(f.Object) {
				narrow[p] = append(narrow[p], spans...)
			}
		}
		return nil
	})
	if err != nil {
		return e, fmt.Errorf("reading what objects say of themselves: %w", err)
	}
	letters := map[lake.Partition][]lake.Span{}
	if len(c.letters) > 0 {
		if err := j.Letters.Footers(ctx, c.letters, func(f lake.Footer) error {
			for p, spans := range f.Coverage.Stored {
				letters[p] = append(letters[p], spans...)
			}
			if f.Rows > 0 && len(f.Coverage.Stored) == 0 {
				unproven = append(unproven, f.Key)
			}
			return nil
		}); err != nil {
			return e, fmt.Errorf("reading what dead letters say of themselves: %w", err)
		}
	}
	slices.Sort(unproven)
	h := sha256.New()
	fmt.Fprintln(h, offsets(narrow), c.wide, offsets(letters), unproven)
	e.Stored = hex.EncodeToString(h.Sum(nil)[:16])
	e.Repeats = e.find(all, stored)
	return e, nil
}

// find finds the duplicates of what is stored, and returns their digest.
func (e *evidence) find(all []lake.Coverage, stored map[lake.Partition][]lake.Span) string {
	sets := make(map[lake.Partition]lake.Offsets, len(stored))
	for p, spans := range stored {
		sets[p] = lake.NewOffsets(spans...)
	}
	for _, c := range all {
		e.repeats.add(c, sets)
	}
	e.repeats.sort()
	names := make([]string, len(e.repeats.parts))
	for p, n := range e.repeats.parts {
		names[n] = p.String()
	}
	sum := uint64(0) // the same in whatever order
	for _, r := range e.repeats.list {
		sum += hashOf(names[r.ofPart] + "/" + strconv.FormatInt(r.of, 10) + " " + names[r.atPart] + "/" +
			strconv.FormatInt(r.at, 10))
	}
	return fmt.Sprintf("%d-%016x", len(e.repeats.list), sum)
}

func sorted[V any](of map[lake.Partition]V) []lake.Partition {
	return slices.SortedFunc(maps.Keys(of), func(a, b lake.Partition) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
}

// offsets are spans in one form, whatever objects they come from.
func offsets(of map[lake.Partition][]lake.Span) string {
	var b []byte
	for _, p := range sorted(of) {
		b = fmt.Appendf(b, "%s%v", p, lake.NewOffsets(of[p]...))
	}
	return string(b)
}
