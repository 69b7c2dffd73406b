package gate

import (
	"bytes"
	"errors"

	"weir/internal/event"
	"weir/internal/platform/rawjson"
	"weir/internal/platform/text"
)

// item is one event of a body: its bytes, cut out of the body without copying,
// and its event_id as far as a reply can name it.
type item struct {
	raw []byte
	id  []byte           // printable ASCII without quotes; nil when unknown
	dev []byte           // device_id as sent, between its quotes; nil when it has none that is a string
	bad *event.Rejection // what the gate itself found wrong with it, or nil
	shape
}

// errUnsplittable says that the body as a whole is not JSON, so that its events cannot be told
// apart.
var errUnsplittable = errors.New("the array is not JSON: it does not end, or its brackets and quotes do not match")

// errUTF16 says that a body is UTF-16.
var errUTF16 = errors.New("the body is UTF-16: JSON is sent in UTF-8")

// utf16Text detects UTF-16 by its byte order mark, or by the first character, which in JSON is
// ASCII.
func utf16Text(b []byte) bool {
	if len(b) < 2 {
		return false
	}
	return b[0] == 0xFF && b[1] == 0xFE || b[0] == 0xFE && b[1] == 0xFF || b[0] == 0 && b[1] != 0 || b[0] != 0 && b[1] == 0
}

// errTooMany says that there are more events than a request may hold.
var errTooMany = errors.New("too many events")

// split cuts a JSON body into events: the elements of an array, or the one
// value that the body is. It looks at quotes and brackets alone. Whatever is
// wrong inside an element stays inside it, for the check of that one event to
// find; for a valid array the cuts are where any JSON parser would make them.
// It appends to items, and stops with errTooMany after limit of them.
func split(body []byte, items []item, limit int) ([]item, error) {
	body = text.WithoutBOM(body)
	i := rawjson.Space(body, 0)
	if i == len(body) {
		return items, nil
	}
	if body[i] != '[' {
		return append(items, lone(trimRight(body[i:]))), nil
	}
	i = rawjson.Space(body, i+1)
	if i < len(body) && body[i] == ']' && rawjson.Space(body, i+1) == len(body) {
		return items, nil
	}
	for {
		var s scan
		end := s.element(body, i)
		if end == len(body) {
			return items, errUnsplittable
		}
		if len(items) == limit {
			return items, errTooMany
		}
		items = append(items, item{raw: trimRight(body[i:end]), id: s.id, dev: s.device, shape: s.shape})
		i = rawjson.Space(body, end+1)
		if body[end] == ']' {
			if i < len(body) {
				return items, errUnsplittable
			}
			return items, nil
		}
	}
}

// splitLines cuts an NDJSON body into events, one per line. Empty lines are skipped. A line that is
// not JSON does not affect the others.
func splitLines(body []byte, items []item, limit int) ([]item, error) {
	for len(body) > 0 {
		var line []byte
		if n := bytes.IndexByte(body, '\n'); n < 0 {
			line, body = body, nil
		} else {
			line, body = body[:n], body[n+1:]
		}
		line = text.WithoutBOM(line)
		line = trimRight(line[rawjson.Space(line, 0):])
		if len(line) == 0 {
			continue
		}
		if len(items) == limit {
			return items, errTooMany
		}
		items = append(items, lone(line))
	}
	return items, nil
}

func trimRight(b []byte) []byte {
	for n := len(b); n > 0; n-- {
		if c := b[n-1]; c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return b[:n:n] // capped: an append must not run into the next event
		}
	}
	return b[:0:0]
}

// lone returns the item of bytes that are one event.
func lone(raw []byte) item {
	var s scan
	s.element(raw, 0)
	return item{raw: raw, id: s.id, dev: s.device, shape: s.shape}
}
