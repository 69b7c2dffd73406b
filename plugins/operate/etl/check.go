package etl

import (
	"fmt"
	"time"
)

// checkSpec asks something of all rows together: how many they are, and how old
// the newest is.
type checkSpec struct {
	least, most int64 // rows; most -1: any number
	column      string
	age         time.Duration // 0: any
}

func (s *stepSpec) readCheck(r *reader) {
	c := checkSpec{least: r.number("min_rows", 0, 0, 1<<62), most: r.number("max_rows", -1, 0, 1<<62),
		column: r.text("column", false)}
	if given := r.text("max_age", false); given != "" {
		var err error
		if c.age, err = time.ParseDuration(given); err != nil || c.age <= 0 {
			r.wrong(r.members["max_age"], "expected a time such as 90m or 24h")
		}
	}
	r.end()
	switch {
	case r.members == nil:
	case (r.members["column"] == nil) != (r.members["max_age"] == nil):
		r.wrong(r.n, "column and max_age go together")
	case c.least == 0 && c.most < 0 && c.age == 0:
		r.wrong(r.n, "it asks for nothing: expected min_rows, max_rows, or column and max_age")
	case c.most >= 0 && c.least > c.most:
		r.wrong(r.n, "no number is in it: min_rows is above max_rows")
	}
	s.check = c
}

func (s stepSpec) planCheck(columns []column) (func(time.Time) gather, error) {
	at := -1
	if s.check.column != "" {
		if at = indexOf(columns, s.check.column); at < 0 {
			return nil, noColumn(columns, s.check.column)
		}
		if of := columns[at].of; of.kind != kindTimestampTZ {
			return nil, fmt.Errorf("column %q is %s: the age of a timestamptz is known", s.check.column, of)
		}
	}
	return func(now time.Time) gather { return &check{checkSpec: s.check, at: at, now: now} }, nil
}

// check passes all rows on, or fails the run.
type check struct {
	checkSpec
	at     int
	now    time.Time
	rows   int64
	newest string
}

func (c *check) see(r row, _ int64) error {
	c.rows++
	zoned := columnType{kind: kindTimestampTZ}
	if c.at >= 0 && !r[c.at].null && (c.newest == "" || zoned.compare(r[c.at].text, c.newest) > 0) {
		c.newest = r[c.at].text
	}
	return nil
}

func (c *check) stays() bool { return true }

func (c *check) made() ([]numbered, bool, error) {
	switch {
	case c.rows < c.least:
		return nil, false, fmt.Errorf("%d rows are fewer than %d", c.rows, c.least)
	case c.most >= 0 && c.rows > c.most:
		return nil, false, fmt.Errorf("%d rows are more than %d", c.rows, c.most)
	case c.age == 0:
		return nil, false, nil
	case c.newest == "":
		return nil, false, fmt.Errorf("column %q has no value, and so no newest", c.column)
	}
	at, err := time.Parse(time.RFC3339Nano, c.newest)
	if err != nil {
		return nil, false, fmt.Errorf("column %q: %w", c.column, err)
	}
	if old := c.now.Sub(at); old > c.age {
		return nil, false, fmt.Errorf("the newest value of column %q is %s old, and more than %s", c.column,
			old.Round(time.Second), c.age)
	}
	return nil, false, nil
}
