package privacy

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"errors"
	"fmt"
	"slices"
	"strings"

	"weir/internal/platform/pii"
)

// ErrNoToken is about a text that is no token which can be turned back.
var ErrNoToken = errors.New("it is no token that can be turned back: those begin with " + pii.TokenSealed)

// Revealed is what a token stands for. Short is its beginning, which names the
// token to people and cannot be turned back.
type Revealed struct{ Type, Key, Short, Value string }

// shortToken is how many letters of a token name it.
const shortToken = 12

// Reveal turns a token of a fleet back. Keys are as the field keys has them. A
// token that another key or fleet made, or that was changed, is an error; what is
// known of it without a key is returned, too.
func Reveal(keys, fleet, token string) (r Revealed, err error) {
	rest, sealed := strings.CutPrefix(token, pii.TokenSealed)
	parts := strings.SplitN(rest, "-", 3)
	if !sealed || !pii.IsToken([]byte(token)) || !slices.Contains(kindNames[:], parts[0]) ||
		len(parts[2]) < 4*aes.BlockSize/2 || len(parts[2])%2 != 0 {
		return r, ErrNoToken
	}
	r = Revealed{Type: parts[0], Key: parts[1], Short: pii.TokenSealed + parts[0] + "-" + parts[1] + "-" +
		parts[2][:shortToken] + "…"}
	ring, err := parseKeys(keys)
	if err != nil {
		return r, fmt.Errorf("reading the keys: %w", err)
	}
	at := slices.IndexFunc(ring.keys, func(k key) bool { return k.id == r.Key })
	if at < 0 {
		return r, fmt.Errorf("turning %s back: the keys have none with the id %s", r.Short, r.Key)
	}
	all := make([]byte, len(parts[2])/2)
	for i := range all {
		all[i] = (parts[2][2*i]-'a')<<4 | (parts[2][2*i+1] - 'a')
	}
	f := ring.keys[at].of(fleet)
	block, err := aes.NewCipher(f.seal)
	if err != nil {
		return r, fmt.Errorf("turning %s back: %w", r.Short, err)
	}
	vector, value := all[:aes.BlockSize], make([]byte, len(all)-aes.BlockSize)
	cipher.NewCTR(block, vector).XORKeyStream(value, all[aes.BlockSize:])
	if !hmac.Equal(vector, sum(f.name, r.Type+"\x00", value)[:aes.BlockSize]) {
		return r, fmt.Errorf("turning %s back: it is of another fleet, or of another key with the id %s, or not whole",
			r.Short, r.Key)
	}
	r.Value = string(value)
	return r, nil
}
