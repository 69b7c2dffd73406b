// Package geo looks up the region of an IP address in a database in MaxMind's format, which is reloaded when it
// changes. It imports no room of plugins.
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

// File is a database that is reloaded when it changes. It may be used concurrently.
type File struct {
	path  string
	value *live.Value[stamp, maxminddb.Reader]
	stop  context.CancelFunc
	done  chan struct{}
}

// stamp is compared to detect that the file changed.
type stamp struct {
	at   time.Time
	size int64
}

// every is how often the file is checked for changes.
const every = 5 * time.Second

// Open reads the database and follows its file until Close. When a later version cannot be read, the last one stays
// in use and tell is called with the error.
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

// read loads the file into memory: if it were mapped, overwriting the file in place would crash the process.
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

// Region returns the region of an address: the ISO 3166-1 country, with its ISO 3166-2 subdivision (US-CA) if the
// database has it, or "" for an unknown address. An error means that the database is corrupt there.
func (f *File) Region(address netip.Addr) (string, error) {
	found := f.value.Get().Lookup(address.Unmap().WithZone(""))
	if err := found.Err(); err != nil || !found.Found() {
		return "", err
	}
	country, err := text(found, "country", "iso_code")
	if country == "" && err == nil {
		country, err = text(found, "country_code") // the field of smaller databases
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

// Built returns the build time of the database in use, from its metadata.
func (f *File) Built() time.Time {
	return time.Unix(int64(f.value.Get().Metadata.BuildEpoch), 0).UTC()
}

// text returns a record's string at a path, or "".
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
