package pii

import (
	"net/netip"

	"weir/internal/platform/rawjson"
)

// ipv4 returns the end of an IPv4 address at i, or 0. It excludes what looks like a version: after a product name and
// a slash, with five numbers, or in a field of versions. It also excludes addresses in 0/8, 127/8 and 255/8.
func (s *scan) ipv4(i int) int {
	if s.hint == HintVersion || s.version(i) {
		return 0
	}
	t := s.text
	var octet [4]int
	k := i
	for n := range octet {
		if n > 0 {
			if k >= len(t) || t[k] != '.' {
				return 0
			}
			k++
		}
		from := k
		for k < len(t) && k-from < 4 && class[t[k]]&digit != 0 {
			octet[n] = octet[n]*10 + int(t[k]-'0')
			k++
		}
		if k == from || k-from > 3 || octet[n] > 255 {
			return 0
		}
	}
	if !s.ends(k) || k+1 < len(t) && t[k] == '.' && class[t[k+1]]&digit != 0 {
		return 0
	}
	if octet[0] == 0 || octet[0] == 127 || octet[0] == 255 {
		return 0
	}
	return k
}

// version tells whether what precedes a number makes it a version: a product and a slash, a word such as "version",
// or another number and a dot.
func (s *scan) version(i int) bool {
	t := s.text
	if i == s.from {
		return false
	}
	switch before := t[i-1]; {
	case before == '.':
		return true
	case before == '/':
		return i-2 >= s.from && class[t[i-2]]&(digit|letter) != 0
	}
	end := i
	for end > s.from && (t[end-1] == ' ' || t[end-1] == ':' || t[end-1] == '=') {
		end--
	}
	from := end
	for from > s.from && class[t[from-1]]&letter != 0 && end-from < 16 {
		from--
	}
	var low [16]byte
	for n, c := range t[from:end] {
		low[n] = c | 0x20
	}
	switch string(low[:end-from]) {
	case "version", "ver", "v", "firmware", "release", "build", "rev", "revision", "section", "oid":
		return true
	}
	return false
}

// ipv6 returns the end of an IPv6 address at i, or 0.
func (s *scan) ipv6(i int) int {
	t := s.text
	k, colons, double, digits, pairs, group := i, 0, false, false, true, 0
	for ; k < len(t) && k-i < 46; k++ {
		c := t[k]
		switch {
		case c == ':':
			if colons++; k > i && t[k-1] == ':' {
				double = true
			}
			pairs = pairs && group == 2
			group = 0
		case class[c]&hexDigit != 0:
			digits = digits || class[c]&digit != 0
			group++
		case c == '.' && colons > 0:
		default:
			goto read
		}
	}
read:
	if colons < 2 || !digits || !double && colons < 6 || pairs && group == 2 { // pairs of hex digits: an EUI-64
		return 0
	}
	end := k
	for end > i && (t[end-1] == '.' || t[end-1] == ':' && (end-2 < i || t[end-2] != ':')) {
		end--
	}
	if i > s.from && t[i-1] == ':' || !s.ends(end) {
		return 0
	}
	addr, err := netip.ParseAddr(rawjson.Alias(t[i:end]))
	if err != nil || addr.IsLoopback() || addr.IsUnspecified() {
		return 0
	}
	return end
}
