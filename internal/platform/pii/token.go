package pii

// Replacements of findings, a mark such as [email] or a token, may be scanned again and are left unchanged.

// Prefixes of tokens: irreversible and reversible ones.
const (
	TokenHash   = "pii-"
	TokenSealed = "tok-"
)

// Token formats a replacement: prefix, kind, key id, and bytes as letters from a to p, which match no pattern. The
// result is a valid device_id and needs no escaping in JSON or URLs.
func Token(begin, kind, key string, sum []byte) string {
	b := make([]byte, 0, len(begin)+len(kind)+len(key)+2+2*len(sum))
	b = append(append(append(append(append(b, begin...), kind...), '-'), key...), '-')
	for _, c := range sum {
		b = append(b, 'a'+c>>4, 'a'+c&15)
	}
	return string(b)
}

// token returns the end of a token at i, or 0.
func token(text []byte, i int) int {
	if i+len(TokenHash) > len(text) || text[i] != 'p' && text[i] != 't' {
		return 0
	}
	if begin := string(text[i : i+len(TokenHash)]); begin != TokenHash && begin != TokenSealed {
		return 0
	}
	k := i + len(TokenHash)
	part := func(most int, ok func(byte) bool) bool {
		from := k
		for k < len(text) && ok(text[k]) {
			k++
		}
		return k > from && k-from <= most
	}
	dash := func() bool { k++; return k <= len(text) && text[k-1] == '-' }
	lower := func(c byte) bool { return c >= 'a' && c <= 'z' }
	id := func(c byte) bool { return lower(c) || c >= '0' && c <= '9' }
	if !part(16, lower) || !dash() || !part(8, id) || !dash() {
		return 0
	}
	if !part(1<<20, func(c byte) bool { return c >= 'a' && c <= 'p' }) || k < len(text) &&
		class[text[k]]&(digit|letter) != 0 {
		return 0
	}
	return k
}

// IsToken tells whether a text is exactly one token.
func IsToken(text []byte) bool { return len(text) > 0 && token(text, 0) == len(text) }
