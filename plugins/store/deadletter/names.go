package deadletter

import (
	"bytes"
	"errors"

	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/rawjson"
)

// A dead letter belongs to a person if its bytes name them where events do: as user, or as id,
// anonymous_id or person of the user. The same name elsewhere, such as the number of an article or
// the title of a page, does not count. Bytes that are no valid JSON are searched for the same
// fields, as far as they can be read. If neither a device nor such a name could be read, every
// word or quoted text that equals the name counts, because there is no other evidence.

// nameMost is the maximum length, in bytes, of names that are searched for.
const nameMost = 256

// encodedMost is the maximum length of such a name with JSON escapes.
const encodedMost = 6 * nameMost

// layersMost is how many layers of JSON within JSON strings are searched.
const layersMost = 3

const userField = "user"

// namesUser reports whether a field of the user is one of their ids.
func namesUser(field string) bool {
	return field == "id" || field == "anonymous_id" || field == "person"
}

// teller passes names to each until each returns false.
type teller struct {
	each func(name []byte) bool
	told bool // at least one name was passed
	done bool
}

func (t *teller) tell(name []byte) {
	if len(name) > 0 && !t.done {
		t.told = true
		t.done = !t.each(name)
	}
}

// eachPerson calls each for the people that an original names, until each returns false. alone
// says that no device could be read from the original. A name may be passed twice.
func eachPerson(original []byte, alone bool, each func(name []byte) bool) {
	t := &teller{each: each}
	if !t.document(original) {
		t.broken(original)
	}
	if !alone || t.told {
		return
	}
	for layer := 0; layer <= layersMost && !t.done; layer++ {
		t.anywhere(original)
		if !bytes.Contains(original, []byte(`\"`)) {
			return
		}
		original = bytes.ReplaceAll(bytes.ReplaceAll(original, []byte(`\"`), []byte(`"`)), []byte(`\\`), []byte(`\`))
	}
}

// document passes on the ids of the users of an event, or of a list of events, and returns whether
// the bytes are such a document from beginning to end.
func (t *teller) document(b []byte) bool {
	read := func(i int) (int, error) {
		if i >= len(b) || b[i] != '{' {
			return rawjson.Value(b, i, 1)
		}
		return rawjson.Object(b, i, 1, func(key []byte, plain bool, i int) (int, error) {
			end, err := rawjson.Value(b, i, 2)
			if err == nil && rawjson.Text(key, plain) == userField {
				t.user(b[i:end])
			}
			return end, err
		})
	}
	i, err := rawjson.Space(b, 0), error(nil)
	switch {
	case i < len(b) && b[i] == '[':
		i, err = rawjson.Array(b, i, 0, read)
	case i < len(b) && b[i] == '{':
		i, err = read(i)
	default:
		err = errors.New("neither an object nor a list")
	}
	return err == nil && rawjson.Space(b, i) == len(b)
}

// user passes on the ids in the value of a user: a text, an object, or a list of these.
func (t *teller) user(b []byte) {
	if t.scalar(b, 0) >= 0 {
		return
	}
	// No error is possible: it was read before.
	if b[0] == '[' {
		_, _ = rawjson.Array(b, 0, 0, func(i int) (int, error) {
			end, err := rawjson.Value(b, i, 1)
			if err == nil && b[i] != '[' {
				t.user(b[i:end])
			}
			return end, err
		})
		return
	}
	if b[0] == '{' {
		_, _ = rawjson.Object(b, 0, 0, func(key []byte, plain bool, i int) (int, error) {
			end, err := rawjson.Value(b, i, 1)
			if err == nil && namesUser(rawjson.Text(key, plain)) {
				t.scalar(b, i)
			}
			return end, err
		})
	}
}

// scalar passes on the text or number at i, and returns where it ends; -1: there is none.
func (t *teller) scalar(b []byte, i int) int {
	switch {
	case i < len(b) && b[i] == '"':
		if end, plain, err := rawjson.String(b, i); err == nil {
			t.tell(rawjson.Bytes(rawjson.Text(b[i+1:end-1], plain)))
			return end
		}
	case i < len(b) && (b[i] == '-' || b[i] >= '0' && b[i] <= '9'):
		if end, err := rawjson.Number(b, i); err == nil {
			t.tell(b[i:end])
			return end
		}
	}
	return -1
}

// broken passes on the ids in everything that looks like a user field, as far as it can be read.
func (t *teller) broken(b []byte) {
	quoted := []byte(`"` + userField + `"`)
	for from := 0; !t.done; {
		at := bytes.Index(b[from:], quoted)
		if at < 0 {
			return
		}
		from += at + len(quoted)
		i := rawjson.Space(b, from)
		if i >= len(b) || b[i] != ':' {
			continue
		}
		from = rawjson.Space(b, i+1)
		if end := t.scalar(b, from); end >= 0 {
			from = end
		} else {
			from = t.torn(b, from)
		}
	}
}

// torn passes on the ids in an object or list that begins at i, up to its end or the end of the
// bytes, and returns where that is.
func (t *teller) torn(b []byte, i int) int {
	for depth := 0; i < len(b); {
		switch b[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case '"':
			end, plain, err := rawjson.String(b, i)
			if err != nil {
				break // no string begins here: go on after the quote
			}
			key := rawjson.Text(b[i+1:end-1], plain)
			if i = rawjson.Space(b, end); i < len(b) && b[i] == ':' && namesUser(key) {
				if end := t.scalar(b, rawjson.Space(b, i+1)); end >= 0 {
					i = end
				}
			}
			continue
		}
		if i++; depth <= 0 {
			break
		}
	}
	return i
}

// anywhere passes on everything that could be a name: words, and quoted texts.
func (t *teller) anywhere(b []byte) {
	for _, in := range []func(byte) bool{tombstone.NameByte, wordByte, notSingleQuote} {
		eachRun(b, in, func(run []byte) bool {
			if len(run) <= nameMost {
				t.tell(run)
			}
			return !t.done
		})
	}
	for i := quote(b, 0); i < len(b) && !t.done; {
		next := quote(b, i+1) // it may end this text, and also begin the next
		if next < len(b) && next-i <= encodedMost {
			t.scalar(b[i:next+1], 0)
		}
		i = next
	}
}

// quote returns the index of the first quote from i on that no backslash escapes; len(b): there is
// none. Escaped ones belong to the next layer.
func quote(b []byte, i int) int {
	for escaped := false; i < len(b); i++ {
		if b[i] == '"' && !escaped {
			return i
		}
		escaped = b[i] == '\\' && !escaped
	}
	return len(b)
}

// wordByte reports whether a byte may be in a word of text that is not JSON.
func wordByte(c byte) bool { return c > ' ' && bytes.IndexByte([]byte(`"'{}[](),;=&<>`), c) < 0 }

func notSingleQuote(c byte) bool { return c != '\'' }

// eachRun calls each for the longest runs of bytes for which in is true, until each returns false.
func eachRun(b []byte, in func(byte) bool, each func(run []byte) bool) {
	for i := 0; i < len(b); i++ {
		if !in(b[i]) {
			continue
		}
		from := i
		for i < len(b) && in(b[i]) {
			i++
		}
		if !each(b[from:i]) {
			return
		}
	}
}
