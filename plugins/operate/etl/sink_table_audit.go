package etl

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// recount counts all rows of a table that is replaced. A table of another mode has rows of other
// runs, too: for it recount returns what the run's record says.
func (t *dbTable) recount(ctx context.Context, r *Report) (rows int64, sum string, err error) {
	if t.mode != modeReplace {
		s, err := t.session(ctx, true)
		if err != nil {
			return 0, "", err
		}
		defer s.close(ctx)
		found := false
		err = s.query(ctx, func(scan func(...any) error) error {
			found = true
			return scan(&rows, &sum)
		}, `SELECT "rows", sha256 FROM `+t.loads()+" WHERE sink = ? AND run = ?", t.table, r.Run)
		if err == nil && !found {
			err = errNoLoad
		}
		return rows, sum, err
	}
	columns, err := columnsOf(r.Columns)
	if err != nil {
		return 0, "", err
	}
	in, err := t.reading(t, columns).open(ctx)
	if err != nil {
		return 0, "", err
	}
	defer in.close()
	if err := in.from(ctx, ""); err != nil {
		return 0, "", err
	}
	var all rowTeller
	for {
		row, _, err := in.next()
		if errors.Is(err, io.EOF) {
			return rows, all.sum.hex(), nil
		}
		if err != nil {
			return 0, "", err
		}
		for i, c := range columns {
			if err := row[i].as(c.of); err != nil {
				return 0, "", dataError{fmt.Errorf("column %q: %w", c.name, err)}
			}
		}
		all.add(columns, row)
		rows++
	}
}

// as converts what the table returns for a value back to a type: a decimal may have more digits,
// and a bool may be a number.
func (c *cell) as(of columnType) (err error) {
	switch {
	case c.null:
	case of.kind == kindDecimal:
		c.text, err = of.canonical(c.text)
	case of.kind == kindBool && c.text == "0":
		c.text = "false"
	case of.kind == kindBool && c.text == "1":
		c.text = "true"
	}
	return err
}

// errNoLoad says that a sink has no record of a run.
var errNoLoad = errors.New("the table has no note of this run")
