package replay

import "context"

// failed says which dead letters the job reads.
func (s *Spec) failed() letterQuery {
	q := letterQuery{Fleet: s.Fleet, Devices: s.Devices, Stages: s.Stages, Codes: s.Codes,
		IDs: s.IDs}
	if s.From != nil {
		q.From = *s.From
	}
	if s.To != nil {
		q.To = *s.To
	}
	return q
}

// look goes through dead letters as a redrive does, and changes nothing.
type look struct {
	letters deadLetters
	spec    *Spec
	batch   int
	read    func(n int) // told of each page, if it is there
	found   *Preview
	at      map[Count]int // places in found.Counts
	page    []*letter
	bytes   int // of its originals
}

// lookBytes bounds the originals that are held at a time.
const lookBytes = 16 << 20

func newLook(letters deadLetters, spec *Spec, batch int) *look {
	return &look{letters: letters, spec: spec, batch: batch, at: map[Count]int{},
		found: &Preview{Counts: []Count{}, Samples: []Sample{}}}
}

// over counts the dead letters of a query into found, and calls each with those
// that would be redriven. What was found before an error is there.
func (k *look) over(ctx context.Context, q letterQuery, each func(*letter) error) error {
	err := k.letters.scan(ctx, q, func(l *letter) error {
		k.bytes += len(l.Original)
		if k.page = append(k.page, l); len(k.page) < k.batch && k.bytes < lookBytes {
			return ctx.Err()
		}
		return k.turn(ctx, each)
	})
	if err == nil && len(k.page) > 0 {
		err = k.turn(ctx, each)
	}
	return err
}

// turn looks at a page.
func (k *look) turn(ctx context.Context, each func(*letter) error) error {
	resolved, err := k.letters.resolved(ctx, ids(k.page))
	if err != nil {
		return err
	}
	for _, l := range k.page {
		k.found.Letters++
		if resolved[l.ID] {
			k.found.Resolved++
			continue
		}
		if targets, _ := k.spec.back(l); targets == "" {
			k.found.Foreign++
			continue
		}
		key := Count{Fleet: l.Fleet, Stage: l.Stage, Code: l.Code}
		if i, ok := k.at[key]; ok {
			k.found.Counts[i].Count++
		} else if len(k.found.Counts) < countsMost {
			k.at[key] = len(k.found.Counts)
			k.found.Counts = append(k.found.Counts, Count{l.Fleet, l.Stage, l.Code, 1})
		}
		if each == nil {
			continue
		}
		if err := each(l); err != nil {
			return err
		}
	}
	if k.read != nil {
		k.read(len(k.page))
	}
	k.page, k.bytes = nil, 0
	return nil
}
