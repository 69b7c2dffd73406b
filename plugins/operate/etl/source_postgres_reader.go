package etl

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// item is the change of one row, or a TRUNCATE, in a transaction.
type item struct {
	of       *pglogrepl.RelationMessage // the columns at that time; nil: all rows were deleted
	old, new *pglogrepl.TupleData
	whole    bool // old has all columns, and not only the key
	updates  bool
}

// postgresReader reads the log in a goroutine, ahead of the writer to the sinks. While it waits for
// the writer, it sends the server its status, so that the server keeps the connection.
type postgresReader struct {
	stop context.CancelFunc
	done chan struct{}
	transactionQueue[item]
	flushed atomic.Uint64

	conn      *pgconn.PgConn
	table     uint32
	most      int64 // bytes that a transaction may take
	relations map[uint32]*pglogrepl.RelationMessage
	now       *transaction[item]
	sent      time.Time
	told      uint64
}

const (
	statusEvery = 10 * time.Second // longest time between two messages of status
	statusAfter = time.Second      // how soon the server is told that the sinks have more
)

// start starts a reader at the position up to which all sinks have everything.
func (s *postgresStream) start(ctx context.Context) error {
	from := pglogrepl.LSN(s.stood.Next[0])
	err := pglogrepl.StartReplication(ctx, s.conn.PgConn(), s.slot, from, pglogrepl.StartReplicationOptions{
		PluginArgs: []string{"proto_version '1'", "publication_names '" + s.publication + "'"}})
	var said *pgconn.PgError
	if errors.As(err, &said) && said.Code == "55006" {
		return fmt.Errorf("slot %s is read by somebody else, or by one that was just killed: %w", s.slot,
			s.refused("following", err))
	}
	if err != nil {
		return s.refused("following", err)
	}
	r := &postgresReader{done: make(chan struct{}), conn: s.conn.PgConn(),
		table: uint32(s.at.oid), most: s.memory << 20, relations: map[uint32]*pglogrepl.RelationMessage{}}
	r.out = make(chan *transaction[item], 1024)
	r.flushed.Store(uint64(from))
	ctx, r.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.reader, s.queue, s.shapes = r, &r.transactionQueue, map[*pglogrepl.RelationMessage]shape{}
	go func() {
		defer close(r.done)
		defer close(r.out)
		r.err = r.read(ctx)
	}()
	return nil
}

// end stops the reader, and tells the server last what the sinks have.
func (r *postgresReader) end() {
	r.stop()
	<-r.done
	if r.conn.IsClosed() {
		return
	}
	_ = r.tell() // if it fails, the next reader tells it
}

// tell sends the server the position that all sinks have reached: it need not keep the log before
// that.
func (r *postgresReader) tell() error {
	at := r.flushed.Load()
	r.sent, r.told = time.Now(), at
	return pglogrepl.SendStandbyStatusUpdate(context.Background(), r.conn,
		pglogrepl.StandbyStatusUpdate{WALWritePosition: pglogrepl.LSN(at)})
}

func (r *postgresReader) read(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := r.tellInTime(false); err != nil {
			return err
		}
		polled, cancel := context.WithTimeout(ctx, statusAfter)
		msg, err := r.conn.ReceiveMessage(polled)
		cancel()
		if err != nil && pgconn.Timeout(err) {
			continue
		}
		if err != nil {
			return err
		}
		switch msg := msg.(type) {
		case *pgproto3.ErrorResponse:
			return pgconn.ErrorResponseToPgError(msg)
		case *pgproto3.CopyDone:
			return errors.New("the server has ended the log")
		case *pgproto3.CopyData:
			if err := r.take(ctx, msg.Data); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

func (r *postgresReader) tellInTime(asked bool) error {
	since := time.Since(r.sent)
	if asked || since > statusEvery || since > statusAfter && r.flushed.Load() != r.told {
		return r.tell()
	}
	return nil
}

var errCutLog = errors.New("a message of the log is cut")

func (r *postgresReader) take(ctx context.Context, data []byte) error {
	if len(data) == 0 {
		return errCutLog
	}
	switch data[0] {
	case pglogrepl.PrimaryKeepaliveMessageByteID:
		alive, err := pglogrepl.ParsePrimaryKeepaliveMessage(data[1:])
		if err != nil {
			return err
		}
		if r.now == nil { // between transactions: the next one is after this position
			if err := r.give(ctx, &transaction[item]{quiet: int64(alive.ServerWALEnd)}); err != nil {
				return err
			}
		}
		return r.tellInTime(alive.ReplyRequested)
	case pglogrepl.XLogDataByteID:
		x, err := pglogrepl.ParseXLogData(data[1:])
		if err != nil {
			return err
		}
		msg, err := pglogrepl.Parse(x.WALData)
		if err != nil {
			return fmt.Errorf("reading a message of the log: %w", err)
		}
		return r.message(ctx, msg, len(x.WALData))
	}
	return nil
}

func (r *postgresReader) message(ctx context.Context, msg pglogrepl.Message, size int) error {
	switch m := msg.(type) {
	case *pglogrepl.RelationMessage:
		r.relations[m.RelationID] = m
	case *pglogrepl.BeginMessage:
		r.now = &transaction[item]{begin: int64(m.FinalLSN), at: m.CommitTime}
	case *pglogrepl.InsertMessage:
		r.add(m.RelationID, item{new: m.Tuple}, size)
	case *pglogrepl.UpdateMessage:
		r.add(m.RelationID, item{old: m.OldTuple, new: m.NewTuple, updates: true,
			whole: m.OldTupleType == pglogrepl.UpdateMessageTupleTypeOld},
			size)
	case *pglogrepl.DeleteMessage:
		r.add(m.RelationID, item{old: m.OldTuple, whole: m.OldTupleType == pglogrepl.DeleteMessageTupleTypeOld}, size)
	case *pglogrepl.TruncateMessage:
		for _, id := range m.RelationIDs {
			if id == r.table {
				r.now.items = append(r.now.items, item{})
			}
		}
	case *pglogrepl.CommitMessage:
		done := r.now
		r.now = nil
		if done == nil {
			return errCutLog
		}
		done.end = int64(m.TransactionEndLSN)
		return r.give(ctx, done)
	}
	return nil
}

// add adds a change to the transaction, which stays in memory until the sinks have it.
func (r *postgresReader) add(of uint32, i item, size int) {
	t := r.now
	if of != r.table || t == nil || t.err != nil {
		return
	}
	i.of = r.relations[of]
	for _, tuple := range []*pglogrepl.TupleData{i.old, i.new} {
		if tuple != nil {
			size += valueBytes * len(tuple.Columns)
		}
	}
	t.items, t.bytes = append(t.items, i), t.bytes+size
	if int64(t.bytes) > r.most {
		t.items, t.err = nil, dataError{fmt.Errorf("the transaction that was committed at %s needs more than %d MiB, and is "+
			"taken whole: raise memory_mib", place(t.begin), r.most>>20)}
	}
}

// give hands on a transaction. While it waits, it sends the server its status.
func (r *postgresReader) give(ctx context.Context, t *transaction[item]) error {
	return r.hand(ctx, t, func() error { return r.tellInTime(false) })
}
