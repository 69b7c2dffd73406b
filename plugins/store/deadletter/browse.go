package deadletter

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"weir/plugins/store/lake"
)

// place is the position of a dead letter in a list.
type place struct {
	FailedAt int64  `json:"t"` // microseconds since 1970
	ID       string `json:"i"`
}

func placeOf(r *Row) place { return place{r.FailedAt, r.IDText()} }

func (p place) compare(o place) int {
	return cmp.Or(cmp.Compare(p.FailedAt, o.FailedAt), strings.Compare(p.ID, o.ID))
}

// stretchFirst and stretchMost are the lengths of the first and of the longest stretch of time
// that is read at once. A list is read backwards, one stretch after the other. A nearly empty
// stretch is followed by a longer one. So a page of a quiet month takes few reads, and for a page
// of a busy month no more than about two pages of rows are in memory.
const stretchFirst, stretchMost = time.Hour, 14 * 24 * time.Hour

// browse returns the newest dead letters of a query before a place, which is that of the last one
// on the previous page, and whether there are more. They have OriginalSize but no Original,
// because a page of originals would be large. The query must have both From and To.
func browse(ctx context.Context, store *lake.Store, q Query, before *place, limit int) (page []*Row, more bool,
	err error) {
	if before != nil {
		if to := time.UnixMicro(before.FailedAt + 1); to.Before(q.To) {
			q.To = to
		}
	}
	given := map[[16]byte]bool{}
	for length := stretchFirst; q.From.Before(q.To) && len(page) <= limit; {
		part := q
		if part.From = q.To.Add(-length); part.From.Before(q.From) {
			part.From = q.From
		}
		found, err := newest(ctx, store, part, before, limit+1-len(page), given)
		if err != nil {
			return nil, false, err
		}
		page = append(page, found...)
		if q.To = part.From; len(found) < limit/4+1 {
			length = min(4*length, stretchMost)
		}
	}
	if len(page) > limit {
		return page[:limit], true, nil
	}
	return page, false, nil
}

// newest returns the last rows of a stretch of time, the newest first.
func newest(ctx context.Context, store *lake.Store, q Query, before *place, most int,
	given map[[16]byte]bool) ([]*Row, error) {
	var found []*Row
	order := func(a, b *Row) int { return placeOf(b).compare(placeOf(a)) }
	err := Scan(ctx, store, q, func(r *Row) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if given[r.ID] || before != nil && placeOf(r).compare(*before) >= 0 {
			return nil
		}
		if r.OriginalSize == 0 {
			r.OriginalSize = int64(len(r.Original))
		}
		r.Original, r.Errors, r.Headers = nil, bytes.Clone(r.Errors), nil
		if found = append(found, r); len(found) >= 2*most+64 {
			slices.SortFunc(found, order)
			clear(found[most:])
			found = found[:most]
		}
		return nil
	})
	slices.SortFunc(found, order)
	found = found[:min(len(found), most)]
	for _, r := range found {
		given[r.ID] = true
	}
	return found, err
}

// ErrUnknown says that there is no such dead letter in the range that was searched.
var ErrUnknown = errors.New("no such dead letter")

// find returns one dead letter, with all that is stored of its original.
func find(ctx context.Context, store *lake.Store, q Query, id [16]byte) (found *Row, err error) {
	for length := stretchMost; q.From.Before(q.To) && found == nil; {
		part := q
		if part.From = q.To.Add(-length); part.From.Before(q.From) {
			part.From = q.From
		}
		err := Scan(ctx, store, part, func(r *Row) error {
			if r.ID != id {
				return ctx.Err()
			}
			found = r
			return errStop
		})
		if err != nil {
			return nil, err
		}
		q.To = part.From
	}
	if found == nil {
		return nil, ErrUnknown
	}
	return found, nil
}
