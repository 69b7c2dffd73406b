package etl

import (
	"slices"
	"time"
)

// Streaming tells whether the pipeline is a stream, which Stream runs, and not Run.
func (p *Pipeline) Streaming() bool { return p.stream }

const (
	usualBlock = 10_000
	usualEvery = 2 * time.Second
	leastEvery = 10 * time.Millisecond
	mostEvery  = time.Hour
)

const (
	usualCompact = 10 * time.Minute
	leastCompact = time.Second
	usualSmall   = 16 // MiB
	mostSmall    = 1 << 10
	usualLeast   = 4
	usualKeep    = 7 * 24 * time.Hour
)

// UsualCompaction returns the default configuration.
func UsualCompaction() Compaction {
	return Compaction{Small: usualSmall << 20, Least: usualLeast, Keep: usualKeep}
}

// Compaction returns the pipeline's configuration, or the default.
func (p *Pipeline) Compaction() Compaction {
	if p.compaction == nil {
		return UsualCompaction()
	}
	return p.compaction.Compaction
}

// compacting configures how a stream compacts by itself.
type compacting struct {
	Compaction
	every time.Duration
}

// readCompaction reads whether, and how, a stream compacts its sinks.
func (p *Pipeline) readCompaction(r *reader) {
	at := r.member("compact")
	if at == nil {
		return
	}
	c := at.object(r.problems)
	p.compaction = &compacting{UsualCompaction(), c.duration("every", usualCompact, leastCompact, usualKeep)}
	p.compaction.Small = c.number("small_mib", usualSmall, 1, mostSmall) << 20
	p.compaction.Least = int(c.number("least", usualLeast, 2, mostTogether))
	p.compaction.Keep = c.duration("keep", usualKeep, leastKept, 10*365*24*time.Hour)
	c.end()
	switch {
	case !p.stream:
		r.wrong(at, "only a stream puts small files together by itself: run weir etl compact")
	case !slices.ContainsFunc(p.targets(), p.compactable):
		r.wrong(at, "it streams into no table of Delta Lake, and into no folder")
	}
}

// readBlocks reads the number of rows of a block, and for a stream also the time that a batch may
// wait.
func (p *Pipeline) readBlocks(r *reader) {
	usual := int64(usualBlock)
	if p.stream {
		usual = mostBlock
	}
	p.block = int(r.number("block", usual, 1, mostBlock))
	p.every = r.duration("every", usualEvery, leastEvery, mostEvery)
	if r.members["every"] != nil && !p.stream {
		r.wrong(r.members["every"], `only a stream has batches by time: set "mode" to "stream"`)
	}
}

// checkStream reports what a stream cannot have.
func (p *Pipeline) checkStream(r *reader, steps, sinks []*node) {
	if _, is := p.source.(logSource); !is && p.source != nil {
		r.wrong(r.members["source"], "a stream follows a log: expected a source of type kafka, postgres or mysql")
	}
	p.checkChanges(r, steps, sinks)
	for i, s := range p.steps {
		if s.gathers() {
			r.wrong(steps[i], "%s needs all rows, and a stream has no end", s.kind)
		}
	}
	for i, t := range p.sinks {
		mode := ""
		switch {
		case t.table != nil:
			mode = t.table.mode
		case t.delta != nil:
			mode = t.delta.mode
		}
		if mode == modeReplace {
			r.wrong(sinks[i], `a stream never has all rows: set "mode" to %s or %s`, modeAppend, modeMerge)
		}
	}
}

// checkChanges reports what is not possible with the changes of a table.
func (p *Pipeline) checkChanges(r *reader, steps, sinks []*node) {
	c, is := p.source.(changesSource)
	if !is {
		return
	}
	for i, s := range p.steps {
		if s.kind == "unnest" {
			r.wrong(steps[i], "unnest makes rows of one that have no key of their own: a change of it would not find them")
		}
	}
	for i, t := range p.sinks {
		if t.key() == nil && c.facts().operation == "" {
			r.wrong(sinks[i], `it keeps all changes, and none says what it is: name a column for the operation, as `+
				`"metadata": {"operation": "op"} in the source, or set "mode" to %s`, modeMerge)
		}
	}
}

// changesSource is a source that follows the changes of a table.
type changesSource interface{ facts() changeFacts }
