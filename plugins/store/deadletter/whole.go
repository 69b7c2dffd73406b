package deadletter

import (
	"encoding/base64"
	"encoding/json"
	"unicode/utf8"

	"weir/internal/event"
)

// wholeJSON is a dead letter with its original.
type wholeJSON struct {
	letterJSON
	Original string           `json:"original"`
	Encoding string           `json:"original_encoding"` // utf8, base64
	Cut      bool             `json:"original_cut"`      // it is only the beginning
	Stored   int64            `json:"original_stored"`   // number of bytes that the store has
	JSON     bool             `json:"original_json"`     // it is JSON, and may be shown as JSON
	Headers  json.RawMessage  `json:"headers"`
	Origin   *coordinatesJSON `json:"origin"`   // the record that failed; null if there was none
	Delivery *coordinatesJSON `json:"delivery"` // its first delivery, if it was published again
}

type coordinatesJSON struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

// originalShown is how many bytes of an original are in an answer.
const originalShown = 256 << 10

// depthShown is how deep JSON may nest to be marked as JSON, because readers may recurse.
const depthShown = 100

// wholeOf returns the answer for a dead letter. An original that is not UTF-8 is encoded in
// base64.
func wholeOf(r *Row) wholeJSON {
	shown := r.Original[:min(len(r.Original), originalShown)]
	size := max(r.OriginalSize, int64(len(r.Original)))
	r.OriginalSize = size
	out := wholeJSON{letterJSON: letterOf(r), Encoding: "utf8", Cut: int64(len(shown)) < size,
		Stored: int64(len(r.Original)), Headers: json.RawMessage(`{}`), Origin: coordinatesOf(r.Origin), Delivery: coordinatesOf(r.Delivery)}
	if out.Cut { // do not cut within a character
		for n := 0; n < utf8.UTFMax && len(shown) > 0 && !utf8.Valid(shown); n++ {
			shown = shown[:len(shown)-1]
		}
	}
	if utf8.Valid(shown) {
		out.Original = string(shown)
		out.JSON = !out.Cut && flat(shown) && json.Valid(shown)
	} else {
		shown = r.Original[:min(len(r.Original), originalShown)]
		out.Original, out.Encoding = base64.StdEncoding.EncodeToString(shown), "base64"
	}
	if json.Valid(r.Headers) {
		out.Headers = r.Headers
	}
	return out
}

func coordinatesOf(c *event.Coordinates) *coordinatesJSON {
	if c == nil {
		return nil
	}
	return &coordinatesJSON{c.Topic, c.Partition, c.Offset}
}

// flat reports whether raw, if it is JSON, nests no deeper than depthShown.
func flat(raw []byte) bool {
	depth, text := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case text && c == '\\':
			i++
		case c == '"':
			text = !text
		case text:
		case c == '{' || c == '[':
			if depth++; depth > depthShown {
				return false
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return true
}
