package privacy

import (
	"bytes"
	"net/netip"
	"strings"
)

// canonical is a value as it is hashed: the same for all writings of it.
func canonical(k kind, folded []byte) []byte {
	folded = bytes.TrimSpace(folded)
	switch k {
	case kindEmail:
		return bytes.ToLower(folded)
	case kindPhone:
		digits := only(folded, false)
		if len(digits) > 2 && digits[0] == '0' && digits[1] == '0' {
			digits = digits[2:] // 0049 is +49
		}
		return digits
	case kindCard, kindSSN:
		return only(folded, false)
	case kindIBAN:
		return bytes.ToUpper(only(folded, true))
	case kindIP:
		if addr, err := netip.ParseAddr(strings.Trim(string(folded), "[]")); err == nil {
			return []byte(addr.Unmap().String())
		}
	}
	return folded
}

func only(text []byte, letters bool) []byte {
	out := make([]byte, 0, len(text))
	for _, c := range text {
		if c >= '0' && c <= '9' || letters && (c|0x20 >= 'a' && c|0x20 <= 'z') {
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		return text // a field says so, and it is none
	}
	return out
}
