package tombstone

import "strings"

// NameByte tells whether a byte may stand in the id of a device.
func NameByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '.' || c == '_' || c == ':' ||
		c == '-'
}

// Without puts another text in the place of a device's name, wherever that
// stands by itself: "pump-1" is not in "pump-10".
func Without(text, device, instead string) string {
	if device == "" || !strings.Contains(text, device) {
		return text
	}
	if strings.ContainsFunc(device, func(r rune) bool { return r > 0x7f || !NameByte(byte(r)) }) {
		return strings.ReplaceAll(text, device, instead) // no device: the id of a person may be any text
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
		if trimmed := strings.TrimRight(name, ".:"); trimmed == device { // at the end of a sentence
			name = instead + name[len(trimmed):]
		} else if name == device {
			name = instead
		}
		b.WriteString(name)
	}
	return b.String()
}
