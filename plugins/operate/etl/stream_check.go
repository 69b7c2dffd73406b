package etl

import "time"

// Streaming tells whether the pipeline is a stream, for Stream and not for Run.
func (p *Pipeline) Streaming() bool { return p.stream }

const (
	usualBlock = 10_000
	usualEvery = 2 * time.Second
	mostEvery  = time.Hour
)

// readBlocks reads how rows are cut: a stream is cut by time, too.
func (p *Pipeline) readBlocks(r *reader) {
	usual := int64(usualBlock)
	if p.stream {
		usual = mostBlock
	}
	p.block, p.every = int(r.number("block", usual, 1, mostBlock)), usualEvery
	if given := r.text("every", false); r.members["every"] != nil {
		d, err := time.ParseDuration(given)
		if err != nil || d < 10*time.Millisecond || d > mostEvery {
			r.wrong(r.members["every"], "expected a duration of 10ms to 1h, such as 2s")
		}
		if p.every = d; !p.stream {
			r.wrong(r.members["every"], `only a stream has batches by time: set "mode" to "stream"`)
		}
	}
}

// checkStream says what a stream cannot do.
func (p *Pipeline) checkStream(r *reader, steps, sinks []*node) {
	if _, is := p.source.(kafkaSource); !is && p.source != nil {
		r.wrong(r.members["source"], "a stream reads a topic: expected a source of type kafka")
	}
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
