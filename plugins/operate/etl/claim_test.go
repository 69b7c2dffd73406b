package etl

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"weir/plugins/store/lake"
)

// claiming is a pipeline of a name that writes an object below a folder.
func claiming(t *testing.T, name, out string) *Pipeline {
	t.Helper()
	null := cell{null: true}
	p := gathering(t, `{"check": {"min_rows": 1}}`, 5, []row{{{text: name}, null, null, null, null}})
	p.Name = name
	p.sinks[0].url, p.rejects.url = "file://"+out, "file://"+out
	return p
}

func TestClaim_AnObjectHasOnePipeline(t *testing.T) {
	out := t.TempDir()
	a, b, o := claiming(t, "a", out), claiming(t, "b", out), options(t)
	if _, err := a.Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	object := func() string {
		raw, err := os.ReadFile(filepath.Join(out, "o.ndjson"))
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	before := object()
	if _, err := b.Run(t.Context(), o); !Final(err) || object() != before || !strings.Contains(err.Error(),
		"claiming sink o.ndjson as ndjson: pipeline a writes it: name another object, or take it over with --take-over") {
		t.Errorf("%v\n%s", err, object())
	}
	if _, err := a.Run(t.Context(), options(t)); err != nil { // of another state: no run is going on
		t.Error(err)
	}
	o.TakeOver = true
	if _, err := b.Run(t.Context(), o); err != nil || object() == before {
		t.Errorf("%v\n%s", err, object())
	}
	if _, err := a.Run(t.Context(), options(t)); !Final(err) || !strings.Contains(err.Error(), "pipeline b writes it") {
		t.Error(err)
	}
}

// stuck is a source that waits in the middle of a run.
type stuck struct {
	source
	reached, on chan struct{}
}

func (s stuck) open(ctx context.Context) (reading, error) {
	close(s.reached)
	<-s.on
	return s.source.open(ctx)
}

// Of one pipeline on two machines, the second is refused while the first runs; one
// that took over ends the first before it writes.
func TestClaim_ARunElsewhereIsNotDisturbed(t *testing.T) {
	for _, takeOver := range []bool{false, true} {
		out := t.TempDir()
		first, second := claiming(t, "a", out), claiming(t, "a", out)
		s := stuck{first.source, make(chan struct{}), make(chan struct{})}
		first.source = s
		ended := make(chan error, 1)
		o := options(t)
		go func() {
			_, err := first.Run(context.Background(), o)
			ended <- err
		}()
		select {
		case <-s.reached:
		case err := <-ended:
			t.Fatal(err)
		}
		other := options(t)
		other.TakeOver = takeOver
		_, err := second.Run(t.Context(), other)
		if takeOver && err != nil || !takeOver && (!Final(err) || !strings.Contains(err.Error(), "is not at its end")) {
			t.Errorf("take over %t: %v", takeOver, err)
		}
		close(s.on)
		switch err := <-ended; {
		case !takeOver && err != nil:
			t.Error(err)
		case takeOver && (!Final(err) || !strings.Contains(err.Error(), "claiming sink")):
			t.Errorf("the one that was taken over: %v", err)
		}
	}
}

// What a crash leaves, its own state goes on with, and no other.
func TestClaim_ACrashLeavesItToItsState(t *testing.T) {
	out := t.TempDir()
	p, o := claiming(t, "a", out), options(t)
	s := o.stage(p.Name)
	release, err := s.lock()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.claimAll(t.Context(), o, s); err != nil { // and no release
		t.Fatal(err)
	}
	release()
	if _, err := claiming(t, "a", out).Run(t.Context(), options(t)); !Final(err) {
		t.Errorf("of another state: %v", err)
	}
	if _, err := p.Run(t.Context(), o); err != nil {
		t.Errorf("of its own: %v", err)
	}
	if err := os.WriteFile(filepath.Join(out, "_etl", "o.ndjson.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Run(t.Context(), o); !Final(err) || !strings.Contains(err.Error(), "_etl/o.ndjson.json is no claim") {
		t.Error(err)
	}
}

// Of pipelines that begin at once, one writes the object.
func TestClaim_OneOfManyGetsIt(t *testing.T) {
	out, o := t.TempDir(), options(t)
	store, err := lake.Open(t.Context(), lake.FileURL(out))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	var all sync.WaitGroup
	var won atomic.Int64
	for _, name := range strings.Split("abcdefgh", "") {
		p := claiming(t, name, out)
		all.Go(func() {
			switch err := p.take(t.Context(), store, o, p.sinks[0], "id"+name); {
			case err == nil:
				won.Add(1)
			case !Final(err):
				t.Error(err)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		t.Errorf("%d have it", won.Load())
	}
}
