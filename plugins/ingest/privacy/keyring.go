package privacy

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"hash"
	"strings"
	"sync"

	"weir/internal/platform/pii"
)

// keyring holds the keys, newest first. The first one writes.
type keyring struct{ keys []key }

type key struct {
	id     string
	secret []byte
}

// leastSecret is how long a secret must be: one that can be guessed hides nothing.
const leastSecret = 16

// parseKeys reads "id:secret id:secret …".
func parseKeys(text string) (*keyring, error) {
	ring := &keyring{}
	known := map[string]bool{}
	for n, word := range strings.Fields(text) {
		id, value, ok := strings.Cut(word, ":")
		switch {
		case !ok || !keyID(id):
			return nil, fmt.Errorf("key %d: expected ID:SECRET, the id of 1 to 8 lower-case letters and digits", n+1)
		case len(value) < leastSecret:
			return nil, fmt.Errorf("key %s: expected a secret of %d characters or more", id, leastSecret)
		case known[id]:
			return nil, fmt.Errorf("key %s is there twice: a new key needs a new id", id)
		}
		known[id] = true
		ring.keys = append(ring.keys, key{id, []byte(value)})
	}
	return ring, nil
}

func keyID(id string) bool {
	for i := range len(id) {
		if c := id[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return len(id) > 0 && len(id) <= 8
}

// fleetKeys are the keys of one fleet: what one fleet's tokens say is of no use
// in another.
type fleetKeys struct {
	id         string
	hash       sync.Pool // *mac
	seal, name []byte    // of tokens that can be turned back: the cipher's, and its vector's
}

// mac hashes one value after the other under one key: to begin with a key costs as
// much as a value does.
type mac struct {
	hash.Hash
	text, sum []byte
}

// of makes the keys of a fleet, nil when there is none.
func (r *keyring) of(fleet string) *fleetKeys {
	if len(r.keys) == 0 {
		return nil
	}
	return r.keys[0].of(fleet)
}

func (k *key) of(fleet string) *fleetKeys {
	hashing := derive(k.secret, "hash", fleet)
	return &fleetKeys{id: k.id, seal: derive(k.secret, "seal", fleet), name: derive(k.secret, "name", fleet),
		hash: sync.Pool{New: func() any { return &mac{Hash: hmac.New(sha256.New, hashing)} }}}
}

func derive(secret []byte, use, fleet string) []byte {
	return sum(secret, "weir privacy\x00"+use+"\x00"+fleet, nil)
}

func sum(key []byte, text string, more []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	h.Write(more)
	return h.Sum(nil)
}

// hashed is the same for the same value of a kind in a fleet, as long as the key
// is the same. Nobody without the key can make it of a guess.
func (f *fleetKeys) hashed(k kind, canonical []byte) string {
	m, _ := f.hash.Get().(*mac)
	defer f.hash.Put(m)
	m.Reset()
	m.text = append(append(append(m.text[:0], k.String()...), 0), canonical...)
	m.Write(m.text)
	m.sum = m.Sum(m.sum[:0])
	if cap(m.text) > mostBuffer {
		m.text = nil
	}
	return pii.Token(pii.TokenHash, k.String(), f.id, m.sum[:16])
}

// sealed is as hashed, and whoever has the key can read the value in it: a
// synthetic vector, of the value itself, and the value under AES-CTR.
func (f *fleetKeys) sealed(k kind, value []byte) string {
	vector := sum(f.name, k.String()+"\x00", value)[:aes.BlockSize]
	block, err := aes.NewCipher(f.seal)
	if err != nil { // the key has 32 bytes
		return k.mark()
	}
	text := make([]byte, len(value))
	cipher.NewCTR(block, vector).XORKeyStream(text, value)
	return pii.Token(pii.TokenSealed, k.String(), f.id, append(vector, text...))
}
