package lake

import (
	"context"
	"io"
)

// PutGroups writes an object of a table, one row group at a time: next returns the number of rows
// of the next one and their columns, and 0 at the end. The object has no coverage. It becomes
// visible and durable as with PutBytes. size is its length in bytes.
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

// counter counts the bytes that are written.
type counter struct {
	to io.Writer
	n  int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.n += int64(n)
	return n, err
}
