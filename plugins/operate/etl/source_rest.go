package etl

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// restReading reads one page after the other. A run continues within the page of its last row, if
// that page still begins with the rows that were read.
type restReading struct {
	restSource
	client *http.Client
	ctx    context.Context
	cols   []column

	first *restPage // page from which the columns were inferred; nil: none, or it is in use
	page  *restPage // nil: the next one is at place
	place string    // of page
	taken int       // rows of page that were read
	sum   hash.Hash // of these rows
	ended bool

	seen  map[[16]byte]bool // hashes of the places that were requested
	sames [sha256.Size]byte // checksum of the page before
}

// restPosition is the position after a row.
type restPosition struct {
	Place string `json:"place"` // of its page
	Taken int    `json:"taken"` // rows of the page up to this one
	Sum   string `json:"sum"`   // checksum of these rows
}

func (s restSource) open(ctx context.Context) (reading, error) {
	client, err := s.client()
	if err != nil {
		return nil, err
	}
	r := &restReading{restSource: s, client: client, ctx: ctx, cols: s.columns}
	if r.cols == nil {
		if r.first, err = s.page(ctx, client, ""); err == nil {
			r.cols, err = inferred(r.first.rows)
		}
		if err != nil {
			r.close()
			return nil, err
		}
	}
	return r, nil
}

func (r *restReading) columns() []column { return r.cols }

func (r *restReading) identity() string { return fmt.Sprintf("%v of %s", r.cols, r.describe()) }

func (r *restReading) begin(ctx context.Context) {
	r.ctx, r.page, r.place, r.taken, r.sum, r.ended = ctx, nil, "", 0, sha256.New(), false
	r.seen, r.sames = map[[16]byte]bool{}, [sha256.Size]byte{}
}

func (r *restReading) from(ctx context.Context, position string) error {
	r.begin(ctx)
	if position == "" {
		return nil
	}
	var at restPosition
	if err := json.Unmarshal([]byte(position), &at); err != nil {
		return fmt.Errorf("reading where the last run ended: %w", err)
	}
	r.place = at.Place
	if err := r.turn(); err != nil {
		return err
	}
	for range min(at.Taken, len(r.page.rows)) {
		if err := r.take(); err != nil {
			return err
		}
	}
	if r.taken != at.Taken || r.told() != at.Sum {
		return dataError{fmt.Errorf("reading %s: the page in which the last run ended has other rows now: begin anew with "+
			"--fresh", r.shown())}
	}
	return nil
}

// take adds the next row of the page to the checksum, and passes over it.
func (r *restReading) take() error {
	raw, err := marshalled(r.page.rows[r.taken].plain())
	if err != nil {
		return fmt.Errorf("reading %s: %w", r.shown(), err)
	}
	r.sum.Write([]byte(raw.text + "\n"))
	r.taken++
	return nil
}

func (r *restReading) told() string { return hex.EncodeToString(r.sum.Sum(nil)) }

// turn requests the page at r.place. It is an error if that place was requested before, or if the
// page equals the one before it: reading would never end.
func (r *restReading) turn() error {
	digest := sha256.Sum256([]byte(r.place))
	key := [16]byte(digest[:16])
	if r.seen[key] {
		return dataError{fmt.Errorf("reading %s: a page leads back to one that was read", r.shown())}
	}
	r.seen[key] = true
	page := r.first
	if r.first = nil; page == nil || r.place != "" {
		var err error
		if page, err = r.restSource.page(r.ctx, r.client, r.place); err != nil {
			delete(r.seen, key)
			return err
		}
	}
	if page.sum == r.sames && len(page.rows) > 0 && (r.by == byPage || r.by == byOffset) {
		return dataError{fmt.Errorf("reading %s: a page is the same as the one before it: does the server know the "+
			"parameter %q?", r.shown(), r.parameter)}
	}
	r.page, r.taken, r.sames = page, 0, page.sum
	r.sum = sha256.New()
	return nil
}

func (r *restReading) next() (row, string, error) {
	for r.page == nil || r.taken == len(r.page.rows) {
		if r.ended {
			return nil, "", io.EOF
		}
		if r.page != nil {
			if r.page.next == "" {
				r.ended = true
				continue
			}
			r.place = r.page.next
		}
		if err := r.turn(); err != nil {
			return nil, "", err
		}
	}
	n := r.page.rows[r.taken]
	if err := r.take(); err != nil {
		return nil, "", err
	}
	out, err := objectCells(n, r.cols, r.missing, r.ignore)
	if err != nil {
		raw, _ := marshalled(n.plain()) // cannot fail: take has done the same
		return nil, r.position(), &rowError{err.Error(), []byte(raw.text)}
	}
	return out, r.position(), nil
}

func (r *restReading) position() string {
	raw, _ := json.Marshal(restPosition{r.place, r.taken, r.told()}) // cannot fail: texts and a number
	return string(raw)
}

func (r *restReading) count(ctx context.Context) (n int64, err error) {
	for r.begin(ctx); ; n++ {
		_, _, err := r.next()
		var one *rowError
		switch {
		case errors.Is(err, io.EOF):
			return n, nil
		case err != nil && !errors.As(err, &one):
			return 0, err
		}
	}
}

func (r *restReading) close() { r.client.CloseIdleConnections() }

// inferred returns the columns of a page. The type of a column is that of all its values. It is
// json if they have several types, are nested, or are numbers with a fraction, as the number of
// digits is not known.
func inferred(rows []*node) ([]column, error) {
	kinds := map[string]kind{}
	for _, n := range rows {
		members, is := n.value.(map[string]*node)
		if !is {
			return nil, dataError{errors.New("a row of the first page is no object: the columns are not to be seen")}
		}
		for name, v := range members {
			is, before := kindOf(v), kinds[name]
			if _, there := kinds[name]; there && is != before && is != "" && before != "" {
				is = kindJSON
			}
			if is == "" {
				is = before
			}
			kinds[name] = is
		}
	}
	if len(kinds) == 0 {
		return nil, dataError{errors.New(`the first page has no rows to take the columns from: name them in "columns"`)}
	}
	var all []column
	for _, name := range sortedKeys(kinds) {
		of := kinds[name]
		if of == "" { // null in every row
			of = kindJSON
		}
		all = append(all, column{name, columnType{kind: of}})
	}
	return all, nil
}

// kindOf returns the type of a value; "": null has none.
func kindOf(n *node) kind {
	switch v := n.value.(type) {
	case nil:
		return ""
	case bool:
		return kindBool
	case string:
		return kindText
	case json.Number:
		if _, err := strconv.ParseInt(v.String(), 10, 64); err == nil && !strings.HasPrefix(v.String(), "-0") {
			return kindInt64
		}
	}
	return kindJSON
}
