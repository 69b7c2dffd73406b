package httpx

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/url"
)

// Hash hashes the parameters of a query, to bind its cursors to it.
func Hash(v url.Values, fleet string, names ...string) uint32 {
	h := fnv.New32a()
	for _, name := range names {
		fmt.Fprintf(h, "%s=%q;", name, v[name])
	}
	fmt.Fprint(h, fleet)
	return h.Sum32()
}

// cursor holds where to continue, and the query's time range, because later pages of a query without from or to would
// otherwise compute another range.
type cursor[P any] struct {
	At   P      `json:"p"`
	From int64  `json:"f"`
	To   int64  `json:"t"`
	Hash uint32 `json:"h"`
}

// Cursor returns the opaque text with which the next page of a query starts.
func Cursor[P any](at P, from, to int64, hash uint32) string {
	raw, err := json.Marshal(cursor[P]{at, from, to, hash})
	if err != nil { // cannot happen with strings and numbers
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

// Resume parses the parameter cursor: where the page begins, and the query's range. at is nil for the first page.
func Resume[P any](v url.Values, hash uint32) (at *P, from, to int64, bad *Problem) {
	s := v.Get("cursor")
	if s == "" {
		return nil, 0, 0, nil
	}
	var c cursor[P]
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(raw, &c)
	}
	switch {
	case err != nil:
		return nil, 0, 0, Bad("cursor", "not one that weir gave; take it from next")
	case c.Hash != hash:
		return nil, 0, 0, Bad("cursor", "belongs to another query: send the parameters of the first page again")
	}
	return &c.At, c.From, c.To, nil
}
