package lake

import (
	"context"
	"io"
)

// PutGroups writes an object of a table whose rows come a row group at a time:
// next returns how many and their columns, and none at the end. The object says
// nothing of the log. It is there as after PutBytes; size is how long it is.
func (s *Store) PutGroups(ctx context.Context, key string, t *Table,
	next func() (rows int, columns Columns, err error)) (size int64, err error) {
	err = s.put(ctx, key, func(w io.Writer) error {
		counted := &counter{to: w}
		out := t.newWriter(counted)
		for {
			rows, columns, err := next()
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				return err
			}
			if rows == 0 {
				break
			}
			if err := out.RowGroup(0, rows, columns); err != nil {
				return err
			}
		}
		err := out.Close(&Coverage{})
		size = counted.n
		return err
	})
	return size, err
}

// counter counts what is written.
type counter struct {
	to io.Writer
	n  int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.n += int64(n)
	return n, err
}
