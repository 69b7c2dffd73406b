// Package geo tells by an address where its sender is, from a database in the
// format of MaxMind that is followed while weir runs. It is a leaf: it imports no
// room.
package geo

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"

	"weir/internal/platform/live"
)

// File follows a database. It is safe for concurrent use.
type File struct {
	path  string
	value *live.Value[stamp, maxminddb.Reader]
	stop  context.CancelFunc
	done  chan struct{}
}

// stamp is what a file changes with.
type stamp struct {
	at   time.Time
	size int64
}

// every is how often the file is looked at.
const every = 5 * time.Second

// Open reads the database, and follows it until it is closed: what cannot be read,
// or is none, leaves the last one in force and is told.
func Open(path string, tell func(error)) (*File, error) { return open(path, every, tell) }

func open(path string, every time.Duration, tell func(error)) (*File, error) {
	f := &File{path: path, done: make(chan struct{})}
	f.value = live.New(live.Source[stamp, maxminddb.Reader]{Load: f.look, Same: func(a, b stamp) bool { return a == b },
		Build: f.read})
	ctx, stop := context.WithCancel(context.Background())
	if _, err := f.value.Refresh(ctx); err != nil {
		stop()
		return nil, err
	}
	f.stop = stop
	go func() {
		defer close(f.done)
		live.Follow(ctx, every, time.Minute, false, func(ctx context.Context) error {
			_, err := f.value.Refresh(ctx)
			return err
		}, tell)
	}()
	return f, nil
}

func (f *File) look(context.Context) (stamp, error) {
	info, err := os.Stat(f.path)
	if err != nil {
		return stamp{}, fmt.Errorf("looking at the database of addresses: %w", err)
	}
	return stamp{info.ModTime(), info.Size()}, nil
}

// read takes the file into memory: one that is mapped would end the process when
// somebody writes it anew in its place.
func (f *File) read(stamp) (*maxminddb.Reader, error) {
	raw, err := os.ReadFile(f.path)
	if err != nil {
		return nil, fmt.Errorf("reading the database of addresses: %w", err)
	}
	db, err := maxminddb.OpenBytes(raw)
	if err != nil {
		return nil, fmt.Errorf("reading the database of addresses %s: %w; expected a whole .mmdb file", f.path, err)
	}
	return db, nil
}

// Region is where an address is: a country as ISO 3166-1 has it, with its part
// as 3166-2 does (US-CA) where the database knows it; "" when it does not know the
// address. An error is of a database that is broken there.
func (f *File) Region(address netip.Addr) (string, error) {
	found := f.value.Get().Lookup(address.Unmap().WithZone(""))
	if err := found.Err(); err != nil || !found.Found() {
		return "", err
	}
	country, err := text(found, "country", "iso_code")
	if country == "" && err == nil {
		country, err = text(found, "country_code") // as smaller databases have it
	}
	if country == "" || err != nil {
		return "", err
	}
	part, err := text(found, "subdivisions", 0, "iso_code")
	if part != "" {
		country += "-" + part
	}
	return country, err
}

// Built is when the database in force was built, as it says itself.
func (f *File) Built() time.Time {
	return time.Unix(int64(f.value.Get().Metadata.BuildEpoch), 0).UTC()
}

// text is what a record has at a path, "" when it has nothing there.
func text(found maxminddb.Result, path ...any) (s string, err error) {
	if err = found.DecodePath(&s, path...); err != nil {
		return "", fmt.Errorf("looking an address up: %w", err)
	}
	return s, nil
}

// Close stops following the file.
func (f *File) Close() {
	f.stop()
	<-f.done
}
