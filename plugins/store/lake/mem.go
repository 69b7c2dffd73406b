package lake

import (
	"bytes"
	"context"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
)

// memStore keeps objects in memory, for tests. They are lost with it.
type memStore struct {
	mu      sync.RWMutex
	objects map[string][]byte
}

// below returns a separate store: lists of this store do not show its objects.
func (*memStore) below(string) backend { return newMem() }

func newMem() *memStore { return &memStore{objects: map[string][]byte{}} }

func (m *memStore) put(ctx context.Context, key string, write func(io.Writer) error) error {
	var body bytes.Buffer
	if err := write(&body); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.objects[key] = body.Bytes()
	return nil
}

func (m *memStore) putNew(_ context.Context, key string, body []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, is := m.objects[key]; is {
		return ErrExists
	}
	m.objects[key] = bytes.Clone(body)
	return nil
}

// under returns the objects below a prefix, in the order of keys.
func (m *memStore) under(prefix string) []Blob {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var found []Blob
	for _, key := range slices.Sorted(maps.Keys(m.objects)) {
		if strings.HasPrefix(key, prefix) {
			found = append(found, Blob{Key: key, Size: int64(len(m.objects[key]))})
		}
	}
	return found
}

func (m *memStore) list(ctx context.Context, prefix string, each func(Blob) error) error {
	for _, b := range m.under(withSlash(prefix)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := each(b); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (m *memStore) folders(ctx context.Context, prefix string) ([]string, error) {
	prefix = withSlash(prefix)
	var names []string
	for _, b := range m.under(prefix) {
		name, _, inside := strings.Cut(strings.TrimPrefix(b.Key, prefix), "/")
		if inside && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, ctx.Err()
}

func (m *memStore) open(_ context.Context, key string, _ int64) (Reader, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	body, ok := m.objects[key]
	if !ok {
		return nil, ErrNotFound
	}
	return memReader{bytes.NewReader(body)}, nil
}

func (m *memStore) remove(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, key)
	return nil
}

func (m *memStore) close() error { return nil }

// memReader reads an object as it was when it was opened.
type memReader struct{ *bytes.Reader }

func (memReader) Close() error { return nil }
