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

// claim is a record beside an object that says which pipeline writes it. Other pipelines are
// refused. A run of the same pipeline is refused while a run with another state folder, most likely
// on another machine, has not finished. A crash leaves the claim marked as running: a run with the
// same state folder goes on, one with another must take it over (--take-over). A run checks its
// claim before it writes an object, but not in one step with the write: it does not notice a
// take-over in between.
type claim struct {
	Pipeline string    `json:"pipeline"`
	State    string    `json:"state"` // id of the state folder of the run
	Running  bool      `json:"running"`
	Since    time.Time `json:"since"`
}

// releaseTimeout bounds the release of all claims of a run.
const releaseTimeout = 30 * time.Second

// claimsFolder holds the claims of a store; the name of no sink's object begins with it.
const claimsFolder = "_etl"

// mostClaim bounds how many bytes of a claim are read.
const mostClaim = 1 << 16

// identity returns the random id of a state folder, and creates it on first use.
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

// targets returns the sinks and, if there is one, the sink of rejects.
func (p *Pipeline) targets() []target {
	if p.rejects == nil {
		return p.sinks
	}
	return append(p.sinks[:len(p.sinks):len(p.sinks)], *p.rejects)
}

// claimAll claims each object and each table for this run. When it returns nil, the claims are
// durable, and no run of another state begins to write there; nor does another pipeline, except to
// a table that is appended to or merged into, which several pipelines may write. After an error
// some claims may be taken: the next try finds that they are its own.
func (p *Pipeline) claimAll(ctx context.Context, o Options, s stage) error {
	id, err := s.identity()
	if err != nil {
		return err
	}
	for _, t := range p.targets() {
		if t.topic != nil { // its transactional id admits one writer
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
		return p.mine(ctx, store, t, id) // PutNew may have written it and lost the answer
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

// mine returns an error unless the claim of an object is that of this run.
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

// release marks the claims as no longer running, so that a run with another state may begin. It
// tells the user of each claim that it could not release; such a claim stays as after a crash.
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
				return err // it is another run's, or was never taken
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
