package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"reflect"
	"time"

	"modernc.org/sqlite"

	"weir/internal/platform/calls"
)

// openSQLite prepares a pool of connections whose calls are measured by the meter, if that is not nil.
func openSQLite(dsn string, meter *calls.Meter) (*sql.DB, error) {
	db, err := sql.Open("sqlite", dsn)
	if err != nil || meter == nil {
		return db, err
	}
	with := &fileConnector{dsn: dsn, driver: db.Driver(), meter: meter, writers: newWriters()}
	return sql.OpenDB(with), db.Close() // which has no connection
}

// fileConnector makes connections that measure their calls and write one after the other. A begin waits for other
// writers, and is counted as a write. The time of a query ends when its rows are closed; a statement that is executed
// for many rows counts as one call.
type fileConnector struct {
	dsn     string
	driver  driver.Driver
	meter   *calls.Meter
	writers writers
}

func (c *fileConnector) Driver() driver.Driver { return c.driver }

func (c *fileConnector) Connect(context.Context) (driver.Conn, error) {
	conn, err := c.driver.Open(c.dsn)
	if err != nil {
		return nil, err
	}
	full, is := conn.(fileConn)
	if !is { // a connection without these methods is used as it is
		return conn, nil
	}
	return &timedConn{fileConn: full, meter: c.meter, writers: c.writers}, nil
}

// fileConn has all methods of the driver's connections that database/sql uses.
type fileConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

type timedConn struct {
	fileConn
	meter   *calls.Meter
	texts   statements
	writers writers
	within  bool // in a write transaction, which has its turn already
}

func (c *timedConn) Close() error { return errors.Join(c.texts.close(), c.fileConn.Close()) }

func note(meter *calls.Meter, kind string, began time.Time, err error) {
	if fileAnswer(err) {
		err = nil
	}
	meter.Note(kind, began, err)
}

const violated = 19 // SQLITE_CONSTRAINT, in the low byte of a code

// fileAnswer reports whether an error is a normal answer of a healthy store, which is that a row exists already, or
// the caller has gone.
func fileAnswer(err error) bool {
	var said *sqlite.Error
	return errors.Is(err, context.Canceled) || errors.Is(err, io.EOF) ||
		errors.As(err, &said) && said.Code()&0xff == violated
}

func (c *timedConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	began := time.Now()
	leave, err := c.turn(ctx, !opts.ReadOnly)
	var tx driver.Tx
	if err == nil {
		if tx, err = c.fileConn.BeginTx(ctx, opts); err != nil {
			leave()
		}
	}
	note(c.meter, callWrite, began, err)
	if err != nil {
		return nil, err
	}
	c.within = !opts.ReadOnly
	return &timedTx{tx, c, leave}, nil
}

// turn waits for the turn of a writer, unless the statement only reads or is within a transaction.
func (c *timedConn) turn(ctx context.Context, writes bool) (leave func(), err error) {
	if !writes || c.within {
		return func() {}, nil
	}
	return c.writers.enter(ctx)
}

func (c *timedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	began := time.Now()
	var res driver.Result
	leave, err := c.turn(ctx, kindOf(query) == callWrite)
	if err != nil {
		note(c.meter, callWrite, began, err)
		return nil, err
	}
	defer leave()
	if k := c.texts.take(ctx, c.fileConn, query); k != nil {
		res, err = k.stmt.ExecContext(ctx, args)
		k.busy = false
	} else {
		res, err = c.fileConn.ExecContext(ctx, query, args)
	}
	note(c.meter, kindOf(query), began, err)
	return res, err
}

func (c *timedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	began := time.Now()
	var rows driver.Rows
	leave, err := c.turn(ctx, kindOf(query) == callWrite)
	if err != nil {
		note(c.meter, callWrite, began, err)
		return nil, err
	}
	k := c.texts.take(ctx, c.fileConn, query)
	if k != nil {
		rows, err = k.stmt.QueryContext(ctx, args)
	} else {
		rows, err = c.fileConn.QueryContext(ctx, query, args)
	}
	ended := func(err error) {
		leave()
		if k != nil {
			k.busy = false
		}
		note(c.meter, kindOf(query), began, err)
	}
	if err != nil {
		ended(err)
		return nil, err
	}
	return &timedRows{Rows: rows, ended: ended}, nil
}

func (c *timedConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	stmt, err := c.fileConn.PrepareContext(ctx, query)
	if err != nil {
		note(c.meter, kindOf(query), time.Now(), err)
		return nil, err
	}
	full, is := stmt.(fileStmt)
	if !is {
		return stmt, nil
	}
	return &timedStmt{fileStmt: full, meter: c.meter, kind: kindOf(query)}, nil
}

type timedTx struct {
	driver.Tx
	conn  *timedConn
	leave func()
}

func (t *timedTx) end() {
	t.conn.within = false
	t.leave()
}

func (t *timedTx) Commit() error {
	defer t.end()
	began := time.Now()
	err := t.Tx.Commit()
	note(t.conn.meter, callCommit, began, err)
	return err
}

func (t *timedTx) Rollback() error {
	defer t.end()
	return t.Tx.Rollback()
}

// fileStmt has all methods of the driver's statements that database/sql uses.
type fileStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// timedStmt adds up the time of a statement until it is closed. It is not safe for concurrent use, like the driver's.
type timedStmt struct {
	fileStmt
	meter *calls.Meter
	kind  string
	took  time.Duration
	runs  int
	err   error
}

func (s *timedStmt) ran(began time.Time, err error) {
	s.took, s.runs = s.took+time.Since(began), s.runs+1
	if err != nil && !fileAnswer(err) {
		s.err = err
	}
}

func (s *timedStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	began := time.Now()
	res, err := s.fileStmt.ExecContext(ctx, args)
	s.ran(began, err)
	return res, err
}

func (s *timedStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	began := time.Now()
	rows, err := s.fileStmt.QueryContext(ctx, args)
	if err != nil {
		s.ran(began, err)
		return nil, err
	}
	return &timedRows{Rows: rows, ended: func(err error) { s.ran(began, err) }}, nil
}

func (s *timedStmt) Close() error {
	if s.runs > 0 {
		s.meter.Tell(s.kind, s.took, s.err != nil)
	}
	return s.fileStmt.Close()
}

// timedRows reports when rows were closed, and the error that ended them early.
type timedRows struct {
	driver.Rows
	ended func(error)
	err   error
}

func (r *timedRows) Next(dest []driver.Value) error {
	err := r.Rows.Next(dest)
	if err != nil {
		r.err = err
	}
	return err
}

func (r *timedRows) Close() error {
	err := r.Rows.Close()
	if r.ended != nil {
		r.ended(errors.Join(r.err, err))
		r.ended = nil
	}
	return err
}

// ColumnTypeDatabaseTypeName is the driver's.
func (r *timedRows) ColumnTypeDatabaseTypeName(i int) string {
	if typed, is := r.Rows.(driver.RowsColumnTypeDatabaseTypeName); is {
		return typed.ColumnTypeDatabaseTypeName(i)
	}
	return ""
}

// ColumnTypeScanType is the driver's.
func (r *timedRows) ColumnTypeScanType(i int) reflect.Type {
	if typed, is := r.Rows.(driver.RowsColumnTypeScanType); is {
		return typed.ColumnTypeScanType(i)
	}
	return reflect.TypeFor[any]()
}

var (
	_ fileConn    = (*timedConn)(nil)
	_ fileStmt    = (*timedStmt)(nil)
	_ driver.Rows = (*timedRows)(nil)
)
