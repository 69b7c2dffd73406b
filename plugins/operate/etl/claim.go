package etl

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"weir/plugins/store/lake"
)

// claim says which pipeline writes an object, beside it. An object has one
// pipeline: another is refused. Of one pipeline, a run is refused while another
// state folder - of another machine, most likely - has a run that is not at its
// end. A crash leaves a claim that runs: its own state goes on, and another takes it
// over by hand. Between the last look at a claim and the write of its object, one
// that is taken over meanwhile is not seen.
type claim struct {
	Pipeline string    `json:"pipeline"`
	State    string    `json:"state"` // of the folder that keeps the run
	Running  bool      `json:"running"`
	Since    time.Time `json:"since"`
}

// releaseTimeout bounds what is said at the end of a run.
const releaseTimeout = 30 * time.Second

// claimsFolder is beside the objects of a store; no object of a sink begins so.
const claimsFolder = "_etl"

// mostClaim bounds what is read of a claim.
const mostClaim = 1 << 16

// identity is that of a state folder, made when it is first asked for.
func (s stage) identity() (string, error) {
	path := filepath.Join(s.dir, "id")
	raw, err := os.ReadFile(path)
	if err == nil && len(raw) > 0 {
		return strings.TrimSpace(string(raw)), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("reading the id of the state: %w", err)
	}
	var chance [8]byte
	_, _ = rand.Read(chance[:]) // never fails
	id := hex.EncodeToString(chance[:])
	return id, replace(path, func(w io.Writer) error {
		_, err := io.WriteString(w, id+"\n")
		return err
	})
}

// targets are the sinks and the rejects.
func (p *Pipeline) targets() []target {
	if p.rejects == nil {
		return p.sinks
	}
	return append(p.sinks[:len(p.sinks):len(p.sinks)], *p.rejects)
}

// claimAll takes each object, and each table, for this run. When it returns without an error, the
// claims are durable, and no run of another pipeline or state begins to write
// there; after an error, some may be taken, which the next try finds its own.
func (p *Pipeline) claimAll(ctx context.Context, o Options, s stage) error {
	id, err := s.identity()
	if err != nil {
		return err
	}
	for _, t := range p.targets() {
		if t.topic != nil { // of which a transaction has one writer
			continue
		}
		if t.table != nil {
			err = t.claiming(t.table.take(ctx, o, claim{p.Name, id, true, o.Now().UTC()}))
		} else {
			err = p.onClaim(ctx, t, func(store *lake.Store) error {
				if err := p.apart(ctx, store, o, t, id); err != nil {
					return err
				}
				return p.take(ctx, store, o, t, id)
			})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (t target) claiming(err error) error {
	if err != nil {
		return fmt.Errorf("claiming sink %s: %w", t, err)
	}
	return nil
}

func (p *Pipeline) onClaim(ctx context.Context, t target, do func(*lake.Store) error) error {
	store, err := lake.Open(ctx, p.storeURL(t.url))
	if err != nil {
		return err
	}
	return t.claiming(errors.Join(do(store), store.Close()))
}

func (p *Pipeline) take(ctx context.Context, store *lake.Store, o Options, t target, id string) error {
	mine := claim{p.Name, id, true, o.Now().UTC()}
	raw, err := json.Marshal(mine)
	if err != nil {
		return err
	}
	now, err := readClaim(ctx, store, p.claimKey(t))
	switch {
	case errors.Is(err, lake.ErrNotFound):
		if err := store.PutNew(ctx, p.claimKey(t), raw); err != nil && !errors.Is(err, lake.ErrExists) {
			return err
		}
		return p.mine(ctx, store, t, id) // whoever's answer was lost
	case err != nil:
		return err
	case now.Pipeline == p.Name && now.State == id && now.Running:
		return nil
	case !o.TakeOver && (now.Pipeline != p.Name || now.State != id && now.Running):
		return now.refuse(t.what())
	}
	if now.Pipeline != p.Name || now.State != id {
		o.Tell(fmt.Sprintf("%s: taken over from pipeline %s of state %s", t, now.Pipeline, now.State))
	}
	if err := store.PutBytes(ctx, p.claimKey(t), raw); err != nil {
		return err
	}
	return p.mine(ctx, store, t, id)
}

func (c claim) refuse(what string) error {
	if c.Running {
		return dataError{fmt.Errorf("pipeline %s of state %s has it since %s, and is not at its end: wait for it, or "+
			"take it over with --take-over when it is dead", c.Pipeline, c.State, c.Since.Format(time.RFC3339))}
	}
	return dataError{fmt.Errorf("pipeline %s writes it: name another %s, or take it over with --take-over",
		c.Pipeline, what)}
}

// mine tells whether the claim of an object is that of this run.
func (p *Pipeline) mine(ctx context.Context, store *lake.Store, t target, id string) error {
	now, err := readClaim(ctx, store, p.claimKey(t))
	switch {
	case errors.Is(err, lake.ErrNotFound):
		return dataError{errors.New("its claim was taken away: run again")}
	case err != nil:
		return err
	case now.Pipeline != p.Name || now.State != id:
		return now.refuse(t.what())
	}
	return nil
}

func readClaim(ctx context.Context, store *lake.Store, key string) (c claim, err error) {
	r, err := openObject(ctx, store, key)
	if err != nil {
		return c, err
	}
	raw, err := io.ReadAll(io.NewSectionReader(r, 0, min(r.Size(), mostClaim)))
	if err = errors.Join(err, r.Close()); err != nil {
		return c, err
	}
	if err := json.Unmarshal(raw, &c); err != nil || c.Pipeline == "" {
		return c, dataError{fmt.Errorf("%s is no claim of a pipeline: remove it", key)}
	}
	return c, nil
}

// release says that this process writes no more: a run of another state may begin.
// A claim that stays, as after a crash, is told.
func (p *Pipeline) release(ctx context.Context, o Options, s stage) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	id, err := s.identity()
	if err != nil {
		o.Tell(err.Error())
		return
	}
	for _, t := range p.targets() {
		if t.topic != nil {
			continue
		}
		if t.table != nil {
			if err := t.table.release(ctx, p.Name, id); err != nil {
				o.Tell(fmt.Sprintf("the claim stays: %v", err))
			}
			continue
		}
		if err := p.onClaim(ctx, t, func(store *lake.Store) error {
			now, err := readClaim(ctx, store, p.claimKey(t))
			if err != nil || now.Pipeline != p.Name || now.State != id || !now.Running {
				return err // it is another's, or was never taken
			}
			now.Running = false
			raw, err := json.Marshal(now)
			if err != nil {
				return err
			}
			return store.PutBytes(ctx, p.claimKey(t), raw)
		}); err != nil && !errors.Is(err, lake.ErrNotFound) {
			o.Tell(fmt.Sprintf("the claim stays: %v", err))
		}
	}
}
