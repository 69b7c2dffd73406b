// Package requestid makes the ids of requests, and takes them from the times of what
// came with them.
//
// An id that weir makes says when it was made, to the microsecond, and a number of
// six digits that tells requests of one microsecond apart, through a permutation
// with a key that is no secret: it looks as random as others, which samplers by id
// need. Who has those two has the id: so records have a few digits more in the time
// at which they were received (Stamp), in place of an id. Ids are no secrets, and
// prove nothing.
package requestid

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// ID is an id of 16 bytes, whose text is 32 hex digits.
type ID [16]byte

// String is the id's text.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// New makes an id.
func New() ID { return made{time.Now().UnixMicro(), rand.Uint32N(numbers)}.id(permutation) }

const (
	numberDigits, numbers = 6, 1_000_000
	sinceDigits, sinceMax = 8, 100_000_000
)

// timeFormat is RFC 3339 to the microsecond, without its zone: UTC.
const timeFormat = "2006-01-02T15:04:05.000000"

// permutation is made once: of all that an id costs, making it anew was the most.
var permutation = permute()

func permute() cipher.Block {
	block, err := aes.NewCipher([]byte("weir request ids"))
	if err != nil {
		panic(err) // the key has 16 bytes
	}
	return block
}

// made is an id before it is permuted.
type made struct {
	micros int64
	number uint32 // below numbers
}

func (m made) id(by cipher.Block) (id ID) {
	binary.BigEndian.PutUint64(id[:8], uint64(m.micros))
	binary.BigEndian.PutUint32(id[8:], m.number)
	by.Encrypt(id[:], id[:])
	return id
}

// Stamp is a time as RFC 3339, whose digits beyond microseconds say an id that was
// made in the hundred seconds before: its number, and then how many microseconds
// before. False is for any other id.
func Stamp(id string, at time.Time) (string, bool) {
	var raw ID
	if len(id) != 2*len(raw) {
		return "", false
	}
	if _, err := hex.Decode(raw[:], []byte(id)); err != nil || strings.ToLower(id) != id {
		return "", false
	}
	permutation.Decrypt(raw[:], raw[:])
	number := binary.BigEndian.Uint32(raw[8:])
	since := at.UnixMicro() - int64(binary.BigEndian.Uint64(raw[:8]))
	if binary.BigEndian.Uint32(raw[12:]) != 0 || number >= numbers || since < 0 || since >= sinceMax {
		return "", false
	}
	b := at.UTC().AppendFormat(make([]byte, 0, len(timeFormat)+numberDigits+sinceDigits+1), timeFormat)
	digits := strconv.Itoa(int(number))
	for range numberDigits - len(digits) {
		b = append(b, '0')
	}
	b = append(b, digits...)
	if since > 0 {
		b = strconv.AppendInt(b, since, 10)
	}
	return string(append(b, 'Z')), true
}

// Stamped is the id that a stamp says, "" for any other time.
func Stamped(stamp string) string {
	text, utc := strings.CutSuffix(stamp, "Z")
	const before = len(timeFormat) + numberDigits
	if !utc || len(text) < before || len(text) > before+sinceDigits {
		return ""
	}
	at, err := time.Parse(timeFormat, text[:len(timeFormat)])
	number, wrong := strconv.ParseUint(text[len(timeFormat):before], 10, 32)
	if err != nil || wrong != nil || text[len("2006-01-02T15:04:05")] != '.' { // Parse takes a comma as well
		return ""
	}
	since := uint64(0)
	if digits := text[before:]; digits != "" {
		if since, err = strconv.ParseUint(digits, 10, 32); err != nil || digits[0] == '0' {
			return ""
		}
	}
	return made{at.UnixMicro() - int64(since), uint32(number)}.id(permutation).String()
}
