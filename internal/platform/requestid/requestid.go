// Package requestid generates request ids and recovers them from receive times.
//
// A generated id encodes its creation time in microseconds and a six-digit number that distinguishes ids of the same
// microsecond, encrypted with a fixed public key so that ids look random, as samplers by id require. Time and number
// determine the id: records carry a few extra digits in their receive time (Stamp) in place of the id. Ids are no
// secrets and prove nothing.
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

// ID is a 16-byte id, written as 32 hex digits.
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
		panic(err) // cannot happen: the key has 16 bytes
	}
	return block
}

// made is an id before encryption.
type made struct {
	micros int64
	number uint32 // less than numbers
}

func (m made) id(by cipher.Block) (id ID) {
	binary.BigEndian.PutUint64(id[:8], uint64(m.micros))
	binary.BigEndian.PutUint32(id[8:], m.number)
	by.Encrypt(id[:], id[:])
	return id
}

// Stamp returns at in RFC 3339 whose digits after the microseconds encode an id generated in the hundred seconds
// before: its number, then its age in microseconds. It returns false for any other id.
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

// Stamped returns the id that a stamp encodes, or "" for any other time.
func Stamped(stamp string) string {
	text, utc := strings.CutSuffix(stamp, "Z")
	const before = len(timeFormat) + numberDigits
	if !utc || len(text) < before || len(text) > before+sinceDigits {
		return ""
	}
	at, err := time.Parse(timeFormat, text[:len(timeFormat)])
	number, wrong := strconv.ParseUint(text[len(timeFormat):before], 10, 32)
	if err != nil || wrong != nil || text[len("2006-01-02T15:04:05")] != '.' { // time.Parse also accepts a comma
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
