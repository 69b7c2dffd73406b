package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"slices"
	"strings"
)

// statements are those of a connection to a file that it was asked for again: to
// read a statement's text takes longer than most of what is asked of a small file.
// One is kept when its text comes a second time, so that texts that are made for
// one occasion cost no more than they did. Like a connection it is for one
// goroutine at a time.
type statements struct {
	kept []*statement // the last asked for first
	once []string     // texts that came once, the last one first
}

// What a connection keeps: some kB each.
const (
	statementsMost = 24
	onceMost       = 16
	textMost       = 4 << 10
)

type statement struct {
	text string
	stmt fileStmt
	busy bool // rows of it are being read
}

// repeatable tells whether a text may be kept: one statement, of rows.
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

// take returns the statement of a text, nil when the text is to go its usual way.
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
		return nil // the usual way says why
	}
	stmt, is := made.(fileStmt)
	if !is || !s.room() {
		_ = made.Close() // nothing was done by it
		return nil
	}
	s.once = slices.Delete(s.once, seen, seen+1)
	k := &statement{text, stmt, true}
	s.kept = slices.Insert(s.kept, 0, k)
	return k
}

// room lets the statement go that was asked for the longest ago, when there is one
// too many. It is false when all of them are being read.
func (s *statements) room() bool {
	for i := len(s.kept) - 1; len(s.kept) >= statementsMost && i >= 0; i-- {
		if k := s.kept[i]; !k.busy {
			_ = k.stmt.Close() // it ran, and said what it had to say
			s.kept = slices.Delete(s.kept, i, i+1)
		}
	}
	return len(s.kept) < statementsMost
}

// close lets all go, before their connection does.
func (s *statements) close() error {
	var errs []error
	for _, k := range s.kept {
		errs = append(errs, k.stmt.Close())
	}
	s.kept, s.once = nil, nil
	return errors.Join(errs...)
}
