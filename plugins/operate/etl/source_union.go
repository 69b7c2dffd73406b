package etl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// unionSource reads sources one after the other. They have the same columns, in any order; the rows
// have them in the order of the first source.
type unionSource struct{ parts []source }

// mostParts bounds the sources of a union, which are open at the same time.
const mostParts = 16

func (p *Pipeline) readUnion(r *reader) (source, []column) {
	var u unionSource
	var columns []column
	list, told := r.list("sources"), true
	if len(list) < 2 || len(list) > mostParts {
		r.wrong(r.n, `expected 2 to %d sources in "sources"`, mostParts)
	}
	for i, n := range list {
		one := n.object(r.problems)
		part, has := p.readOne(one, false)
		one.end()
		u.parts = append(u.parts, part)
		if told = told && has != nil; i == 0 || !told {
			columns = has
			continue
		}
		if _, err := arrange(columns, has); err != nil {
			r.wrong(n, "%v", err)
		}
	}
	if !told {
		columns = nil
	}
	return u, columns
}

func (u unionSource) describe() string {
	all := make([]string, len(u.parts))
	for i, p := range u.parts {
		all[i] = p.describe()
	}
	return strings.Join(all, ", then ")
}

// arrange returns the index of each of the columns in among, or an error if the two lists differ in
// more than order.
func arrange(columns, among []column) ([]int, error) {
	at := make([]int, len(columns))
	for i, c := range columns {
		at[i] = indexOf(among, c.name)
		switch {
		case at[i] < 0:
			return nil, fmt.Errorf("it has no column %q, as the first source has", c.name)
		case among[at[i]].of != c.of:
			return nil, fmt.Errorf("column %q is %s, and %s in the first source", c.name, among[at[i]].of, c.of)
		}
	}
	for _, c := range among {
		if indexOf(columns, c.name) < 0 {
			return nil, fmt.Errorf("it has a column %q, which the first source has not", c.name)
		}
	}
	return at, nil
}

// unionReading reads one source after the other. Its position is the number of a source and a
// position in it.
type unionReading struct {
	parts []reading
	order [][]int
	begin func(part int, position string) error
	at    int
}

func (u unionSource) open(ctx context.Context) (_ reading, err error) {
	r := &unionReading{}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	for i, s := range u.parts {
		part, err := s.open(ctx)
		if err != nil {
			return nil, err
		}
		r.parts = append(r.parts, part)
		order, err := arrange(r.columns(), part.columns())
		if err != nil {
			return nil, dataError{fmt.Errorf("opening source %d, %s: %w", i+1, s.describe(), err)}
		}
		r.order = append(r.order, order)
	}
	return r, nil
}

func (r *unionReading) columns() []column { return r.parts[0].columns() }

func (r *unionReading) identity() string {
	all := make([]string, len(r.parts))
	for i, p := range r.parts {
		if all[i] = p.identity(); all[i] == "" {
			return ""
		}
	}
	return strings.Join(all, "; ")
}

func (r *unionReading) from(ctx context.Context, position string) error {
	r.begin = func(part int, position string) error {
		r.at = part
		return r.parts[part].from(ctx, position)
	}
	if position == "" {
		return r.begin(0, "")
	}
	part, position, _ := strings.Cut(position, ":")
	at, err := strconv.Atoi(part)
	if err != nil || at < 0 || at >= len(r.parts) {
		return errors.New("reading where the last run ended: there is no such source")
	}
	return r.begin(at, position)
}

func (r *unionReading) next() (row, string, error) {
	for {
		got, position, err := r.parts[r.at].next()
		if errors.Is(err, io.EOF) && r.at+1 < len(r.parts) {
			if err := r.begin(r.at+1, ""); err != nil {
				return nil, "", err
			}
			continue
		}
		position = fmt.Sprintf("%d:%s", r.at, position)
		if err != nil || slices.IsSorted(r.order[r.at]) {
			return got, position, err
		}
		out := make(row, len(got))
		for i, from := range r.order[r.at] {
			out[i] = got[from]
		}
		return out, position, nil
	}
}

func (r *unionReading) count(ctx context.Context) (all int64, err error) {
	for _, p := range r.parts {
		n, err := p.count(ctx)
		if err != nil {
			return 0, err
		}
		all += n
	}
	return all, nil
}

func (r *unionReading) close() {
	for _, p := range r.parts {
		p.close()
	}
}

// checkHeaders checks the headers of files, which open does not read.
func checkHeaders(in reading) error {
	switch in := in.(type) {
	case *fileReading:
		return in.begin()
	case *unionReading:
		for _, p := range in.parts {
			if err := checkHeaders(p); err != nil {
				return err
			}
		}
	}
	return nil
}
