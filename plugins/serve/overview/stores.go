package overview

import (
	"context"
	"strings"
	"time"

	"weir/internal/control/status"
	"weir/internal/platform/storeurl"
)

// Place is a store that an overview shows.
type Place struct {
	Name string // name in the gauges of its writers: raw, rollups, …
	URL  string
	// Ask checks whether it answers; nil when only its writers can tell.
	Ask func(context.Context) error
}

// looked is the state of a store at a time.
type looked struct {
	place Place
	err   error
	disk  *Disk
	at    time.Time
}

// storeMost is the timeout of a store's answer.
const storeMost = 3 * time.Second

// look checks all stores concurrently and samples their disks.
func look(ctx context.Context, places []Place, disks *filling) []looked {
	all, done := make([]looked, len(places)), make(chan int)
	for i, p := range places {
		go func() {
			ctx, cancel := context.WithTimeout(ctx, storeMost)
			defer cancel()
			l := looked{place: p}
			if p.Ask != nil {
				l.err = p.Ask(ctx)
			}
			if l.disk, l.at = diskOf(p.URL), time.Now(); l.disk != nil {
				disks.note(p.Name, l.at, l.disk)
			}
			all[i] = l
			done <- i
		}()
	}
	for range places {
		<-done
	}
	return all
}

// storesOf reports for each store whether its writers reach it and whether it answers this process.
func storesOf(all []looked, rows []status.Row, now time.Time) []Store {
	up := map[string]bool{}
	for i := range rows {
		if rows[i].Gone() || rows[i].Counts == nil {
			continue
		}
		for name, is := range rows[i].Counts.Up {
			before, known := up[name]
			up[name] = is && (before || !known)
		}
	}
	out := []Store{}
	for _, l := range all {
		s := Store{Name: l.place.Name, Kind: kindOf(l.place.URL), Stamp: stamp(l.at, now), Disk: l.disk}
		written, told := up[l.place.Name]
		switch {
		case l.err != nil:
			s.Up, s.Detail = new(bool), said("it does not answer the api")
		case told && !written:
			s.Up, s.Detail = new(bool), said("those who write to it say that it takes nothing")
		case told, l.place.Ask != nil:
			s.Up = new(bool)
			*s.Up = true
		default:
			s.Detail = said("no process says whether it takes anything")
		}
		out = append(out, s)
	}
	return out
}

func said(s string) *string { return &s }

func kindOf(url string) string {
	scheme, _, _ := strings.Cut(url, "://")
	return scheme
}

// diskOf returns the disk of a local store, nil for others.
func diskOf(url string) *Disk {
	free, total, ok := storeurl.Disk(url)
	if !ok {
		return nil
	}
	return &Disk{Free: free, Total: total}
}
