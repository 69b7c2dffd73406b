package etl

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
	driver "github.com/go-sql-driver/mysql"
)

// mysqlItem is the change of one row, or a TRUNCATE, in a transaction.
type mysqlItem struct {
	of       *replication.TableMapEvent // the columns at that time; nil: all rows were deleted
	old, new []any
	lacks    []int // columns that the log does not have
}

// mysqlReader reads the log in a goroutine, ahead of the writer to the sinks. While it waits for
// the writer, the server keeps what it has not sent, and needs no answers.
type mysqlReader struct {
	transactionQueue[mysqlItem]
	stop context.CancelFunc
	done chan struct{}

	dump  *mysqlDump
	table tableName
	most  int64 // bytes that a transaction may take
	now   *transaction[mysqlItem]
	open  bool // the transaction ends with an event of its own
	xa    bool // the transaction is prepared here, and committed elsewhere in the log
}

// mysqlDump is a connection on which a server sends its log.
type mysqlDump struct {
	conn   *client.Conn // for one goroutine
	raw    net.Conn     // its network connection, which any goroutine may close
	parser *replication.BinlogParser
	file   int64 // position after the last event
	pos    int64
}

const (
	heartbeat = 10 * time.Second // how often an idle server sends a sign of life
	silence   = 90 * time.Second // after which the server counts as gone
)

// logged packs a position of the log, the number of a file and an offset in it, into one number.
func logged(file, pos int64) int64 { return file<<32 | pos }

func fileOf(place int64) int64 { return place >> 32 }
func posOf(place int64) int64  { return place & (1<<32 - 1) }

// placed formats a position for people, so that the order of texts is that of the log.
func placed(at int64) string { return fmt.Sprintf("%06d:%010d", fileOf(at), posOf(at)) }

// numberOfFile splits the name of a file of the log, such as binlog.000012.
func numberOfFile(name string) (base string, number int64, err error) {
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 {
		return "", 0, fmt.Errorf("reading the name of a log, %q: it has no number", name)
	}
	number, err = strconv.ParseInt(name[dot+1:], 10, 32)
	if err != nil || number < 0 {
		return "", 0, fmt.Errorf("reading the name of a log, %q: it has no number", name)
	}
	return name[:dot], number, nil
}

// dumpFrom connects, and asks for the log from a position on. If whole is false, the dump ends at
// the end of the log instead of waiting there. It then uses another server_id, because the server
// ends the connection of a reader when another comes with the same id.
func (c mysqlChanges) dumpFrom(ctx context.Context, base string, place int64, maria, whole bool) (*mysqlDump, error) {
	user, password, err := c.login(ctx)
	if err != nil {
		return nil, err
	}
	conf, err := c.tls()
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: mysqlTimeout}
	shook, cancel := context.WithTimeout(ctx, mysqlTimeout)
	defer cancel()
	var raw net.Conn
	conn, err := client.ConnectWithDialer(shook, "tcp", c.address(), user, password, "",
		func(ctx context.Context, network, address string) (_ net.Conn, err error) {
			if raw, err = dialer.DialContext(ctx, network, address); err == nil {
				err = raw.SetDeadline(time.Now().Add(mysqlTimeout)) // for the handshake
			}
			return raw, err
		}, func(conn *client.Conn) error {
			conn.SetTLSConfig(conf)
			conn.SetAttributes(map[string]string{"program_name": "weir etl"})
			return nil
		})
	if err != nil {
		return nil, c.cannotFollow("connecting to", err)
	}
	d := &mysqlDump{conn: conn, raw: raw, parser: replication.NewBinlogParser(), file: fileOf(place), pos: posOf(place)}
	id := c.serverID
	if !whole {
		id ^= 1 << 30
	}
	if err := d.ask(id, base, maria, whole); err != nil {
		_ = conn.Close()
		return nil, c.cannotFollow("following", err)
	}
	return d, nil
}

// ask sets the variables of the session, and sends the command.
func (d *mysqlDump) ask(id uint32, base string, maria, whole bool) error {
	sets := []string{"SET @master_binlog_checksum = @@global.binlog_checksum, " +
		"@source_binlog_checksum = @@global.binlog_checksum",
		fmt.Sprintf("SET @master_heartbeat_period = %d, @source_heartbeat_period = %[1]d", heartbeat.Nanoseconds()),
		"SET SESSION net_write_timeout = 3600"}
	flavor, flags := mysql.MySQLFlavor, uint16(0)
	if maria {
		sets = append(sets, "SET @mariadb_slave_capability = 4")                         // it sends the ids of transactions
		flavor, flags = mysql.MariaDBFlavor, replication.BINLOG_SEND_ANNOTATE_ROWS_EVENT // so that positions have no gaps
	}
	if !whole {
		flags |= replication.BINLOG_DUMP_NON_BLOCK
	}
	for _, set := range sets {
		if _, err := d.conn.Execute(set); err != nil {
			return err
		}
	}
	d.parser.SetFlavor(flavor)
	d.parser.SetVerifyChecksum(true)
	d.parser.SetTimestampStringLocation(time.UTC)
	name := fmt.Sprintf("%s.%06d", base, d.file)
	data := make([]byte, 4, 4+11+len(name))
	data = append(data, mysql.COM_BINLOG_DUMP)
	data = binary.LittleEndian.AppendUint32(data, uint32(d.pos))
	data = binary.LittleEndian.AppendUint16(data, flags)
	data = binary.LittleEndian.AppendUint32(data, id)
	d.conn.ResetSequence()
	return d.conn.WritePacket(append(data, name...))
}

// next returns the next event; nil: the log ends here.
func (d *mysqlDump) next() (*replication.BinlogEvent, error) {
	if err := d.conn.SetDeadline(time.Now().Add(silence)); err != nil {
		return nil, err
	}
	data, err := d.conn.ReadPacket()
	if err != nil {
		return nil, err
	}
	switch {
	case len(data) > 1 && data[0] == mysql.OK_HEADER:
		return d.parse(data[1:])
	case len(data) > 0 && data[0] == mysql.ERR_HEADER:
		return nil, d.conn.HandleErrorPacket(data)
	case len(data) > 0 && data[0] == mysql.EOF_HEADER:
		return nil, nil
	}
	return nil, errCutLog
}

// parse decodes an event. The library's error is replaced, because it may quote data.
func (d *mysqlDump) parse(data []byte) (e *replication.BinlogEvent, err error) {
	defer func() {
		if recover() != nil {
			err = errCutLog
		}
	}()
	if e, err = d.parser.Parse(data); err != nil {
		return nil, fmt.Errorf("an event of the log behind %s cannot be read", placed(logged(d.file, d.pos)))
	}
	d.moves(e)
	return e, nil
}

// moves sets the position to the end of an event.
func (d *mysqlDump) moves(e *replication.BinlogEvent) {
	switch r := e.Event.(type) {
	case *replication.RotateEvent:
		if _, number, err := numberOfFile(string(r.NextLogName)); err == nil {
			d.file, d.pos = number, int64(r.Position)
		}
		return
	case *replication.HeartbeatEvent:
		return
	case *replication.FormatDescriptionEvent:
		if e.Header.LogPos == 0 {
			return // it is sent again, out of place
		}
	}
	switch at := int64(e.Header.LogPos); {
	case e.Header.Flags&replication.LOG_EVENT_ARTIFICIAL_F != 0:
	case at == 0: // some servers of MariaDB omit it
		d.pos += int64(e.Header.EventSize)
	case at > d.pos: // else the event is beyond 4 GiB, which positions cannot express
		d.pos = at
	}
}

// parsed tells whether an event is from the log, and not one that the server sends before it.
func (d *mysqlDump) parsed(e *replication.BinlogEvent) bool {
	return e.Header.EventType != replication.ROTATE_EVENT
}

func (d *mysqlDump) place() int64 { return logged(d.file, d.pos) }

// cannotFollow turns an error of the server into one that says what to do.
func (c mysqlChanges) cannotFollow(doing string, err error) error {
	var said *mysql.MyError
	if !errors.As(err, &said) {
		return fmt.Errorf("%s MySQL %s: %w", doing, c.host, err)
	}
	const readingLog = 1236 // the message names files and positions, and no data
	if said.Code == readingLog {
		return fmt.Errorf("%s MySQL %s: %s (error %d); another who follows it needs another server_id than %d", doing, c.host,
			said.Message, said.Code, c.serverID)
	}
	known := &driver.MySQLError{Number: said.Code, Message: said.Message}
	copy(known.SQLState[:], said.State)
	return c.rights(c.refused(doing, known))
}

func (s *mysqlStream) start(ctx context.Context) error {
	dump, err := s.dumpFrom(ctx, s.base, s.stood.Next[0], s.maria, true)
	if err != nil {
		return err
	}
	r := &mysqlReader{done: make(chan struct{}), dump: dump, table: s.at.tableName, most: s.memory << 20}
	dump.parser.SetRowsEventDecodeFunc(r.decode)
	r.out = make(chan *transaction[mysqlItem], 1024)
	ctx, r.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.reader, s.queue, s.shapes = r, &r.transactionQueue, map[uint64]*mysqlShape{}
	stopped := context.AfterFunc(ctx, func() { _ = dump.raw.Close() })
	go func() {
		defer close(r.done)
		defer close(r.out)
		defer stopped()
		r.err = r.read(ctx)
	}()
	return nil
}

func (r *mysqlReader) end() {
	r.stop()
	<-r.done
	_ = r.dump.conn.Close() // it was only read
}

// decode decodes the rows of the table, and skips those of others.
func (r *mysqlReader) decode(e *replication.RowsEvent, data []byte) error {
	at, err := e.DecodeHeader(data)
	if err != nil || !r.of(e) {
		return err
	}
	return e.DecodeData(at, data)
}

// of tells whether an event has rows of the table.
func (r *mysqlReader) of(e *replication.RowsEvent) bool {
	return r.table.same(string(e.Table.Schema), string(e.Table.Table))
}

func (r *mysqlReader) read(ctx context.Context) error {
	for {
		from := r.dump.place()
		e, err := r.dump.next()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return err
		}
		if e == nil {
			return errors.New("the server has ended the log")
		}
		if err := r.event(ctx, e, from); err != nil {
			return err
		}
	}
}

// event handles an event; from is the position at which it begins.
func (r *mysqlReader) event(ctx context.Context, e *replication.BinlogEvent, from int64) error {
	switch x := e.Event.(type) {
	case *replication.HeartbeatEvent:
		return nil
	case *replication.RotateEvent, *replication.FormatDescriptionEvent:
		r.now = nil // a crash of the server has cut it off
	case *replication.GTIDEvent, *replication.GtidTaggedLogEvent:
		r.begin(from, false)
		return nil
	case *replication.MariadbGTIDEvent:
		r.begin(from, !x.IsStandalone())
		return nil
	case *replication.TransactionPayloadEvent:
		for _, one := range x.Events {
			if rows, is := one.Event.(*replication.RowsEvent); is && r.of(rows) {
				r.fails(from, "the log has it compressed as a whole: "+mysqlCompression+". "+mysqlAnew)
			}
		}
		return r.commit(ctx, e.Header)
	case *replication.RowsEvent:
		r.rows(x, e.Header)
		return nil
	case *replication.QueryEvent:
		return r.query(ctx, x, e.Header, from)
	case *replication.XIDEvent:
		return r.commit(ctx, e.Header)
	case *replication.ExecuteLoadQueryEvent:
		r.fails(from, "a file was loaded by a statement, which the log has instead of the rows: a session has another "+
			"binlog_format than ROW")
		return nil
	}
	switch e.Header.EventType {
	case replication.XA_PREPARE_LOG_EVENT:
		r.xa = true
		return r.commit(ctx, e.Header)
	case replication.INCIDENT_EVENT:
		r.fails(from, "the server says there that its log lacks something")
		return r.commit(ctx, e.Header)
	}
	if r.now != nil {
		return nil
	}
	return r.quiet(ctx)
}

func (r *mysqlReader) begin(from int64, open bool) {
	r.now, r.open, r.xa = &transaction[mysqlItem]{begin: from}, open, false
}

// quiet tells the writer that there is nothing for the table up to here.
func (r *mysqlReader) quiet(ctx context.Context) error {
	return r.give(ctx, &transaction[mysqlItem]{quiet: r.dump.place()})
}

func (r *mysqlReader) give(ctx context.Context, t *transaction[mysqlItem]) error {
	return r.hand(ctx, t, func() error { return nil })
}

// fails replaces the current transaction by an error, which ends the stream there.
func (r *mysqlReader) fails(from int64, why string) {
	if r.now == nil {
		r.begin(from, false)
	}
	if r.now.err == nil {
		r.now.items = nil
		r.now.err = dataError{fmt.Errorf("table %s, in the transaction at %s: %s", r.table.name, placed(r.now.begin), why)}
	}
}

// commit ends the transaction, and hands it on if it concerns the table.
func (r *mysqlReader) commit(ctx context.Context, h *replication.EventHeader) error {
	t := r.now
	r.now, r.open = nil, false
	if t == nil || len(t.items) == 0 && t.err == nil {
		return r.quiet(ctx)
	}
	if r.xa && t.err == nil {
		r.now = t
		r.fails(t.begin, "it was changed in a transaction of several servers (XA), which is committed elsewhere in the log")
		r.now = nil
	}
	t.end, t.at = r.dump.place(), time.Unix(int64(h.Timestamp), 0)
	return r.give(ctx, t)
}

// query handles a statement: one that begins or ends a transaction, or one that is not part of any.
func (r *mysqlReader) query(ctx context.Context, q *replication.QueryEvent, h *replication.EventHeader,
	from int64) error {
	sql := strings.TrimSpace(string(q.Query))
	first, second, _ := strings.Cut(sql, " ")
	switch strings.ToUpper(first) {
	case "BEGIN":
		if r.now == nil {
			r.begin(from, true)
		}
		r.open = true
		return nil
	case "COMMIT":
		return r.commit(ctx, h)
	case "SAVEPOINT", "RELEASE":
		return nil
	case "ROLLBACK":
		if second != "" {
			if r.now != nil && len(r.now.items) > 0 {
				r.fails(from, "a part of it was rolled back, which the log has beside tables that cannot be")
			}
			return nil
		}
		r.now = nil
		return r.quiet(ctx)
	case "XA":
		if second = strings.ToUpper(second); strings.HasPrefix(second, "START") || strings.HasPrefix(second, "BEGIN") ||
			strings.HasPrefix(second, "END") {
			if r.now == nil {
				r.begin(from, true)
			}
			r.open = true
			return nil
		}
		if strings.HasPrefix(second, "ROLLBACK") {
			r.now = nil
		}
		return r.commit(ctx, h) // in one phase; a prepared one was handled where it was prepared
	}
	r.statement(sql, string(q.Schema), from)
	if r.open {
		return nil
	}
	return r.commit(ctx, h)
}

// statement applies what a statement means to the table.
func (r *mysqlReader) statement(sql, schema string, from int64) {
	switch r.table.of(sql, schema) {
	case stmtEmptied:
		if r.now == nil {
			r.begin(from, false)
		}
		r.now.items = append(r.now.items, mysqlItem{})
	case stmtGone:
		r.fails(from, "it was dropped, made anew, or given another name: what is changed since is of another table. "+
			mysqlAnew)
	case stmtUnlogged:
		r.fails(from, "rows of it came or went with a partition or a file, of which the log has no changes. "+mysqlAnew)
	case stmtRows:
		r.fails(from, "a statement has changed rows, and the log has it instead of them: a session has another "+
			"binlog_format than ROW. "+mysqlAnew)
	}
}

const mysqlCompression = "SET GLOBAL binlog_transaction_compression = OFF, and so in its configuration"

const mysqlAnew = "Begin anew: give the pipeline other sinks, or take away what they have, which get a new snapshot"

// rows adds the rows of an event to the transaction, which stays in memory until the sinks have it.
func (r *mysqlReader) rows(e *replication.RowsEvent, h *replication.EventHeader) {
	t := r.now
	if t == nil || t.err != nil || !r.of(e) {
		return
	}
	if h.EventType == replication.PARTIAL_UPDATE_ROWS_EVENT {
		r.fails(t.begin, "an update has a part of a JSON alone: SET GLOBAL binlog_row_value_options = ''. "+mysqlAnew)
		return
	}
	t.bytes += int(h.EventSize) + valueBytes*len(e.Rows)*int(e.ColumnCount)
	if int64(t.bytes) > r.most {
		r.fails(t.begin, fmt.Sprintf("it needs more than %d MiB, and is taken whole: raise memory_mib", r.most>>20))
		return
	}
	for i := 0; i < len(e.Rows); i++ {
		one := mysqlItem{of: e.Table, lacks: e.SkippedColumns[i]}
		switch e.Type() {
		case replication.EnumRowsEventTypeInsert:
			one.new = e.Rows[i]
		case replication.EnumRowsEventTypeDelete:
			one.old = e.Rows[i]
		case replication.EnumRowsEventTypeUpdate:
			if i++; i == len(e.Rows) {
				r.fails(t.begin, "an update of it is cut")
				return
			}
			one.old, one.new, one.lacks = e.Rows[i-1], e.Rows[i], append(one.lacks, e.SkippedColumns[i]...)
		default:
			r.fails(t.begin, "the log has changes of a kind that is not known")
			return
		}
		t.items = append(t.items, one)
	}
}
