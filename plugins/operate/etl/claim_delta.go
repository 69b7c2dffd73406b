package etl

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"weir/plugins/store/lake"
)

// claimKey is the key of the claim of an object or a Delta table. A table that is not replaced has
// a claim for each pipeline.
func (p *Pipeline) claimKey(t target) string {
	if t.delta != nil && t.delta.mode != modeReplace {
		return claimsFolder + "/" + t.object + "/" + p.Name + ".json"
	}
	return claimsFolder + "/" + t.object + ".json"
}

// apart refuses a Delta table that another pipeline replaces, or that this one would replace while
// others add to it; with TakeOver it removes their claims instead. Of two runs that begin at the
// same moment, both may pass: the table stays consistent and has the rows of the last one.
func (p *Pipeline) apart(ctx context.Context, store *lake.Store, o Options, t target, id string) error {
	if t.delta == nil {
		return nil
	}
	folder := claimsFolder + "/" + t.object
	var others []string
	if t.delta.mode != modeReplace {
		others = []string{folder + ".json"}
	} else if err := store.List(ctx, folder, func(b lake.Blob) error {
		if path.Dir(b.Key) == folder && strings.HasSuffix(b.Key, ".json") {
			others = append(others, b.Key)
		}
		return nil
	}); err != nil {
		return err
	}
	for _, key := range others {
		c, err := readClaim(ctx, store, key)
		switch {
		case errors.Is(err, lake.ErrNotFound):
			continue
		case err != nil:
			return err
		case c.Pipeline == p.Name && !c.Running: // left from when this pipeline wrote in another mode
		case !o.TakeOver && (c.Pipeline != p.Name || c.State != id):
			return c.refuse(t.what())
		case !o.TakeOver:
			continue
		default:
			o.Tell(fmt.Sprintf("%s: taken over from pipeline %s of state %s", t, c.Pipeline, c.State))
		}
		if err := store.Remove(ctx, key); err != nil {
			return err
		}
	}
	return nil
}
