package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"slices"
	"strings"
)

// statements caches the prepared statements of a connection to a SQLite file, because parsing the text of a statement
// takes longer than most queries of a small file. A statement is kept when its text comes a second time, so texts that
// are used once cost no more than without the cache. It is not safe for concurrent use, like the connection.
type statements struct {
	kept []*statement // the most recently used first
	once []string     // texts that came once, the most recent first
}

// The limits of the cache of a connection; a statement takes some kB.
const (
	statementsMost = 24
	onceMost       = 16
	textMost       = 4 << 10
)

type statement struct {
	text string
	stmt fileStmt
	busy bool // its rows are being read
}

// repeatable reports whether the statement of a text may be kept: it must be a single SELECT, INSERT, UPDATE, DELETE
// or WITH, and not too long.
func repeatable(text string) bool {
	if len(text) > textMost || strings.IndexByte(text, ';') >= 0 {
		return false
	}
	word := strings.TrimLeft(text, " \t\r\n")
	if end := strings.IndexAny(word, " \t\r\n"); end >= 0 {
		word = word[:end]
	}
	switch strings.ToUpper(word) {
	case "SELECT", "INSERT", "UPDATE", "DELETE", "WITH":
		return true
	}
	return false
}

// take returns the kept statement of a text, nil if the connection must prepare the text itself.
func (s *statements) take(ctx context.Context, conn driver.ConnPrepareContext, text string) *statement {
	at := slices.IndexFunc(s.kept, func(k *statement) bool { return k.text == text })
	if at >= 0 {
		k := s.kept[at]
		if k.busy {
			return nil
		}
		copy(s.kept[1:at+1], s.kept[:at])
		s.kept[0], k.busy = k, true
		return k
	}
	if !repeatable(text) {
		return nil
	}
	seen := slices.Index(s.once, text)
	if seen < 0 {
		if len(s.once) == onceMost {
			s.once = s.once[:onceMost-1]
		}
		s.once = slices.Insert(s.once, 0, text)
		return nil
	}
	made, err := conn.PrepareContext(ctx, text)
	if err != nil {
		return nil // preparing it again returns the error
	}
	stmt, is := made.(fileStmt)
	if !is || !s.room() {
		_ = made.Close() // it was not executed
		return nil
	}
	s.once = slices.Delete(s.once, seen, seen+1)
	k := &statement{text, stmt, true}
	s.kept = slices.Insert(s.kept, 0, k)
	return k
}

// room closes the least recently used statement if there are too many. It returns false if all of them are being read.
func (s *statements) room() bool {
	for i := len(s.kept) - 1; len(s.kept) >= statementsMost && i >= 0; i-- {
		if k := s.kept[i]; !k.busy {
			_ = k.stmt.Close() // its executions have returned their errors already
			s.kept = slices.Delete(s.kept, i, i+1)
		}
	}
	return len(s.kept) < statementsMost
}

// close closes all statements, before their connection is closed.
func (s *statements) close() error {
	var errs []error
	for _, k := range s.kept {
		errs = append(errs, k.stmt.Close())
	}
	s.kept, s.once = nil, nil
	return errors.Join(errs...)
}
