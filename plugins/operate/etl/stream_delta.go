package etl

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"weir/plugins/operate/etl/delta"
	"weir/plugins/store/lake"
)

// deltaStream writes batches to a Delta table. Each is a version, whose txn actions record the
// position of each partition of the log.
type deltaStream struct {
	p     *Pipeline
	t     target
	table delta.Table
	known *delta.Snapshot // last version that was written or read; nil: it must be read
}

func (p *Pipeline) streamInto(ctx context.Context, t target, id string) (streamSink, error) {
	if t.table != nil {
		return p.streamTable(ctx, t.table, id)
	}
	if t.topic != nil {
		return p.streamTopic(ctx, t.topic, id == "")
	}
	store, err := lake.Open(ctx, p.storeURL(t.url))
	if err != nil {
		return nil, err
	}
	if t.delta != nil {
		return &deltaStream{p: p, t: t, table: delta.Table{Store: store, Folder: t.object}}, nil
	}
	return &objectStream{p: p, t: t, store: store, id: id, rejects: p.rejects != nil && t == *p.rejects}, nil
}

// reader returns the prefix of the txn application ids for the positions in a log.
func (d *deltaStream) reader(log string) string { return "weir etl " + d.p.Name + " log " + log + "/" }

func (d *deltaStream) marks(s *delta.Snapshot, log string) *marks {
	m := marks{log, map[int32]int64{}}
	for id, txn := range s.Txns {
		if number, is := strings.CutPrefix(id, d.reader(log)); is {
			if n, err := strconv.ParseInt(number, 10, 32); err == nil {
				m.Next[int32(n)] = txn.Version
			}
		}
	}
	if len(m.Next) == 0 {
		return nil
	}
	return &m
}

func (d *deltaStream) at(ctx context.Context, log string) (*marks, error) {
	s, err := d.table.Read(ctx, nil)
	if err != nil {
		return nil, unknownIsFinal(err)
	}
	d.known = s
	return d.marks(s, log), nil
}

func (d *deltaStream) bring(ctx context.Context, b delivery) error {
	m := merged{put: b.all()}
	if d.t.delta.mode == modeMerge {
		m = b.merged(d.t.delta.key)
	}
	s, run := b.staged(m.put)
	sink := Sink{}
	r := &deltaRun{deltaTable: d.t.delta, at: d.table, run: b.id, columns: b.columns, memory: d.p.memory,
		known: d.known, alone: true, erased: m.gone, empty: m.empty,
		came: func(s *delta.Snapshot) (bool, error) { return b.has(d.marks(s, b.to.Log)) }}
	for _, n := range b.to.partitions() {
		r.txns = append(r.txns, delta.Txn{AppID: d.reader(b.to.Log) + strconv.Itoa(int(n)), Version: b.to.Next[n],
			LastUpdated: b.now.UnixMilli()})
	}
	err := r.load(ctx, func() time.Time { return b.now }, func(e encoder) error {
		sink.Rows = 0
		return d.p.encodeRows(ctx, s, run, &sink, e)
	}, &sink)
	if d.known = r.known; err != nil {
		d.known = nil
		return fmt.Errorf("bringing a batch: %w", err)
	}
	return nil
}

func (d *deltaStream) close() error { return d.table.Store.Close() }
