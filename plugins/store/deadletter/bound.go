package deadletter

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"unicode/utf8"

	"weir/internal/event"
)

// Limits of an envelope, so that whatever the log has accepted can be dead-lettered. The total is
// below the 8 MiB that every output of dead letters takes (max_message_bytes of the streams; the
// topic's own limit is higher), and leaves room for headers. Only what is longer than anything
// that the gate accepts, or that a log with Kafka's default limits has, is cut.
const (
	maxEnvelope = 8<<20 - 128<<10
	maxMessage  = 4 << 10
	maxReason   = 1 << 10 // of the message of a field's error; half of it for its pointer
	maxReasons  = 64
	maxHeaders  = 2 << 20   // all of them, as JSON
	maxName     = 1 << 10   // a fleet, and each header beside the envelope
	maxTopic    = 249       // Kafka's own
	maxRest     = 768 << 10 // everything but headers and original, as JSON
)

// keep puts the original bytes into the envelope. If they do not fit, or not all headers do, it
// keeps the first bytes, with the length and the hash of all.
func (e *Envelope) keep(original []byte) {
	e.Message = shortened(e.Message, maxMessage)
	e.Errors = slices.Clone(e.Errors[:min(len(e.Errors), maxReasons)])
	for i, r := range e.Errors {
		e.Errors[i] = event.FieldError{Pointer: shortened(r.Pointer, maxReason/2), Message: shortened(r.Message, maxReason)}
	}
	e.Fleet = shortened(e.Fleet, maxName)
	for _, c := range []**Origin{&e.Origin, &e.Delivery} {
		if *c != nil && len((*c).Topic) > maxTopic {
			*c = nil // Kafka has no such topic: the name was made up
		}
	}
	size, whole := e.keepHeaders()
	room := maxEnvelope - maxRest - size
	if n, text := escaped(original, room); text {
		e.Original, e.Encoding = string(original[:n]), encodingText
		whole = whole && n == len(original)
	} else {
		n := min(len(original), room/4*3)
		e.Original, e.Encoding = base64.StdEncoding.EncodeToString(original[:n]), encodingBase64
		whole = whole && n == len(original)
	}
	if !whole {
		sum := sha256.Sum256(original)
		e.OriginalSize, e.OriginalSHA256 = int64(len(original)), hex.EncodeToString(sum[:])
	}
}

// keepHeaders drops headers, the longest first, until the others fit. It returns their size as
// JSON, and whether all fit.
func (e *Envelope) keepHeaders() (size int, whole bool) {
	names := make([]string, 0, len(e.Headers))
	cost := func(name string) int {
		return quoted(name) + quoted(e.Headers[name]) + len(`"":"",`)
	}
	for name := range e.Headers {
		names = append(names, name)
		size += cost(name)
	}
	if size <= maxHeaders {
		return size, true
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(len(e.Headers[b]), len(e.Headers[a])) })
	kept := make(map[string]string, len(names))
	for _, name := range names {
		if size > maxHeaders {
			size -= cost(name)
			continue
		}
		kept[name] = e.Headers[name]
	}
	e.Headers = kept
	return size, false
}

// escaped returns how many of the bytes, up to the end of a character, take at most room bytes as a
// JSON string, and whether they are valid UTF-8.
func escaped(raw []byte, room int) (n int, text bool) {
	if !utf8.Valid(raw) {
		return 0, false
	}
	if len(raw) <= room/6 { // whatever it holds
		return len(raw), true
	}
	for n < len(raw) {
		_, size := utf8.DecodeRune(raw[n:])
		if room -= cost(raw[n : n+size]); room < 0 {
			break
		}
		n += size
	}
	return n, true
}

// cost returns the most bytes that one character takes in a JSON string.
func cost(char []byte) int {
	switch c := char[0]; {
	case c == '\n' || c == '\r' || c == '\t' || c == '"' || c == '\\':
		return 2
	case c < 0x20 || c == '<' || c == '>' || c == '&' || c == 0x7f || len(char) == 3:
		return 6
	}
	return len(char)
}

// quoted returns the most bytes that a text takes in a JSON string.
func quoted(s string) (n int) {
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			n += 6
		} else {
			n += cost([]byte(s[i : i+size]))
		}
		i += size
	}
	return n
}

// shortened cuts a text that is longer than n bytes, between characters.
func shortened(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// Cut describes what is missing of a dead letter's original; "" if nothing is. A letter that has all
// of its original and not all of its headers has the length and the hash, too.
func (r *Row) Cut() string {
	if r.OriginalSize <= int64(len(r.Original)) {
		return ""
	}
	where := "it was refused before the log had it"
	if r.Origin != nil {
		where = "while the log keeps it, the record is " + r.Origin.String()
	}
	return fmt.Sprintf("its original was too large to keep: of %d bytes (SHA-256 %s) it has the first %d; %s",
		r.OriginalSize, r.OriginalSHA256, len(r.Original), where)
}
