// Package scan reads what weir keeps again and counts the personal data in it: the log, raw events,
// dead letters, rollups with their old minutes, and every table that has rows of a fleet. It
// reports types and places, and no values, and changes nothing. It finds what the processor
// `privacy` finds, and no more.
//
// Its memory is bounded by a batch of rows, the largest value, and a number of places. What
// retention or an erasure deletes meanwhile is skipped; what a merge of objects moves meanwhile may
// be counted twice, but is not missed.
package scan

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"weir/internal/lifecycle"
	"weir/internal/platform/kafka"
	"weir/plugins/ingest/privacy"
)

// Names of stores that are not in the list of lifecycle's kinds.
const (
	Log        = "log"
	OldMinutes = "old_minutes"
)

// Config says where everything is. Stores that it does not name are not read.
type Config struct {
	Log        kafka.Cluster
	Topics     []string
	Stores     lifecycle.List
	URLs       map[lifecycle.Place]string
	OldMinutes string // URL of the objects of old minutes
	Regions    []string
	Names      bool // names of fields are scanned, too
}

// Options select what is read.
type Options struct {
	Fleet string   // only rows of this fleet; "": all
	Only  []string // only these stores; empty: all
	// Since leaves out older records of the log, and objects that were written before. Tables are
	// always read completely.
	Since time.Time
	// Progress is called with what was read of a store so far, at most every progressEvery; it may
	// be nil.
	Progress func(Part)
}

// progressEvery is the least time between two calls of Progress.
const progressEvery = 5 * time.Second

// scan is one run of a scan.
type scan struct {
	Config
	Options
	scanner *privacy.Scanner
	report  *Report
	part    *Part // the store that is being read
	said    time.Time
}

// Names returns the names of the stores that a scan can read, in its order.
func Names(stores lifecycle.List) []string {
	names := []string{Log}
	for _, k := range stores {
		names = append(names, k.Name)
		if k.Place == lifecycle.Rollups {
			names = append(names, OldMinutes)
		}
	}
	return names
}

// Run reads all stores, one after the other. If a store cannot be read, its part of the report has
// the error, and the others are read all the same. Run itself fails only if opt is invalid or ctx
// is done.
func Run(ctx context.Context, conf Config, opt Options) (*Report, error) {
	scanner, err := privacy.NewScanner(conf.Regions, conf.Names)
	if err != nil {
		return nil, err
	}
	known := Names(conf.Stores)
	for _, name := range opt.Only {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("there is no store %q: expected some of %v", name, known)
		}
	}
	s := &scan{Config: conf, Options: opt, scanner: scanner, said: time.Now(),
		report: &Report{StartedAt: time.Now().UTC(), Fleet: opt.Fleet, counts: map[place]int64{}}}
	if !opt.Since.IsZero() {
		since := opt.Since.UTC()
		s.report.Since = &since
	}
	if conf.Log.Named() {
		s.store(ctx, Log, s.log)
	}
	for _, kind := range conf.Stores {
		if at := conf.URLs[kind.Place]; at != "" {
			read := s.objects
			if kind.Place.SQL() {
				read = s.tables
			}
			s.store(ctx, kind.Name, func(ctx context.Context) error { return read(ctx, kind, at) })
		}
		if kind.Place == lifecycle.Rollups && conf.OldMinutes != "" {
			s.store(ctx, OldMinutes, func(ctx context.Context) error { return s.objects(ctx, kind, conf.OldMinutes) })
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.report.end()
	return s.report, nil
}

// store reads one store, if it was asked for.
func (s *scan) store(ctx context.Context, name string, read func(context.Context) error) {
	if len(s.Only) > 0 && !slices.Contains(s.Only, name) || ctx.Err() != nil {
		return
	}
	s.part = &Part{Store: name}
	if err := read(ctx); err != nil {
		s.part.Error = err.Error()
		s.report.errs = append(s.report.errs, fmt.Errorf("reading %s: %w", name, err))
	}
	s.report.Stores = append(s.report.Stores, *s.part)
}

// row counts one row or record, and reports progress.
func (s *scan) row() {
	s.part.Rows++
	if s.Progress != nil && s.part.Rows%64 == 0 && time.Since(s.said) >= progressEvery {
		s.said = time.Now()
		s.Progress(*s.part)
	}
}

// value scans one value; at is its place in the store.
func (s *scan) value(at, name string, value []byte) {
	s.part.Bytes += int64(len(value))
	s.scanner.Value(name, value, func(pointer, kind string) {
		s.part.Found++
		s.report.count(place{s.part.Store, at, pointer, kind})
	})
}

// Err returns the errors of the stores that could not be read.
func (r *Report) Err() error { return errors.Join(r.errs...) }
