package tombstone

import "strings"

// NameByte tells whether a byte may occur in a device id.
func NameByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '.' || c == '_' || c == ':' ||
		c == '-'
}

// Without replaces a device's name in a text wherever it is a whole word: "pump-1" is not found in "pump-10". A name
// that cannot be a device id is replaced wherever it occurs.
func Without(text, device, instead string) string {
	if device == "" || !strings.Contains(text, device) {
		return text
	}
	if strings.ContainsFunc(device, func(r rune) bool { return r > 0x7f || !NameByte(byte(r)) }) {
		return strings.ReplaceAll(text, device, instead) // a person's id may be any text
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		if !NameByte(text[i]) {
			b.WriteByte(text[i])
			i++
			continue
		}
		from := i
		for i < len(text) && NameByte(text[i]) {
			i++
		}
		name := text[from:i]
		if trimmed := strings.TrimRight(name, ".:"); trimmed == device { // followed by the end of a sentence
			name = instead + name[len(trimmed):]
		} else if name == device {
			name = instead
		}
		b.WriteString(name)
	}
	return b.String()
}
