package etl

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"weir/plugins/store/lake"
)

// objectStream writes batches to a folder of a store. Each is an object, and a manifest that names
// it and records the position in the log. A batch is there when its manifest is, which is put only
// if there is none of its number. An object that no manifest names is of a batch that did not
// succeed. It is removed as soon as it cannot succeed any more: one of this state when the stream
// begins, one of another state when there is a manifest of its number.
type objectStream struct {
	p       *Pipeline
	t       target
	store   *lake.Store
	id      string // of the state folder
	rejects bool
	last    manifest
	left    map[string]int64 // objects that no manifest names yet -> their numbers
}

func (o *objectStream) at(ctx context.Context, log string) (*marks, error) {
	var newest lake.Blob
	o.last, o.left = manifest{}, map[string]int64{}
	if err := o.store.List(ctx, o.t.object, func(b lake.Blob) error {
		n, is := numberOf(path.Base(b.Key))
		switch {
		case !is || compactionOf(path.Base(b.Key)) > 0:
		case path.Dir(b.Key) == o.t.object:
			o.left[b.Key] = n
		case path.Dir(b.Key) == o.t.object+"/"+manifestFolder && n > o.last.Number:
			newest, o.last.Number = b, n
		}
		return nil
	}); err != nil {
		return nil, err
	}
	if n := o.last.Number; n > 0 {
		var err error
		if o.last, err = o.folder().readManifest(ctx, newest, n); err != nil {
			return nil, err
		}
	}
	for key, n := range o.left {
		if n <= o.last.Number {
			delete(o.left, key)
		} else if o.id != "" && strings.Contains(path.Base(key), "-"+o.id+".") {
			if err := o.forget(ctx, key); err != nil {
				return nil, err
			}
		}
	}
	if o.last.Number == 0 || o.last.To.Log != log {
		return nil, nil
	}
	return &o.last.To, nil
}

func (o *objectStream) folder() *batchFolder {
	return &batchFolder{o.store, o.t.object, o.t.format, o.p.Name}
}

func (o *objectStream) forget(ctx context.Context, key string) error {
	delete(o.left, key)
	return o.store.Remove(ctx, key)
}

func (o *objectStream) bring(ctx context.Context, d delivery) error {
	var is *marks
	if o.last.To.Log == d.to.Log && o.last.Number > 0 {
		is = &o.last.To
	}
	if has, err := d.has(is); has || err != nil {
		return err
	}
	next := manifest{Pipeline: o.p.Name, ID: d.id, Number: o.last.Number + 1, To: d.to.clone(), Files: []manifestFile{}}
	name := fmt.Sprintf("%012d-%s.%s", next.Number, o.id, o.t.format)
	if d.size(o.rejects) > 0 {
		file, err := o.write(ctx, name, d)
		if err != nil {
			return err
		}
		next.Files = append(next.Files, file)
	}
	raw, err := json.Marshal(next)
	if err != nil {
		return err
	}
	err = o.store.PutNew(ctx, o.folder().batchKey(next.Number), raw)
	if errors.Is(err, lake.ErrExists) {
		return o.resolve(ctx, d, o.t.object+"/"+name)
	}
	if err != nil {
		return err
	}
	o.last = next
	for key, n := range o.left {
		if n <= next.Number {
			if err := o.forget(ctx, key); err != nil {
				return err
			}
		}
	}
	return nil
}

// resolve finds out whose manifest is there: this stream's, if the answer was lost, or another's.
// Then it removes the object that was written, and returns an error.
func (o *objectStream) resolve(ctx context.Context, d delivery, key string) error {
	id := o.id
	o.id = "" // keep what another stream has begun since
	_, err := o.at(ctx, d.to.Log)
	o.id = id
	if err != nil || o.last.ID == d.id {
		return err
	}
	return errors.Join(dataError{fmt.Errorf("somebody else streams into %s under the name of this pipeline", o.t.object)},
		o.store.Remove(ctx, key))
}

func (o *objectStream) write(ctx context.Context, name string, d delivery) (file manifestFile, err error) {
	s, run := d.staged(d.all())
	err = o.store.Write(ctx, o.t.object+"/"+name, func(w io.Writer) error {
		sink := Sink{Format: o.t.format, Rejects: o.rejects}
		sum := newDigest(w)
		buffered := bufio.NewWriterSize(sum, 1<<18)
		if err := o.p.encode(ctx, s, run, d.columns, &sink, buffered); err != nil {
			return err
		}
		if err := buffered.Flush(); err != nil {
			return err
		}
		file = manifestFile{name, sink.Rows, sum.bytes, sum.hex()}
		return nil
	})
	return file, err
}

func (o *objectStream) close() error { return o.store.Close() }
