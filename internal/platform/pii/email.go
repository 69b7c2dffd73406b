package pii

import "bytes"

// emails appends the e-mail addresses in a text. It looks at each byte at most twice, so its time is linear.
func emails(text []byte, spans []Span) []Span {
	left := 0 // the end of the previous address
	for at := bytes.IndexByte(text, '@'); at >= 0; {
		next := at + 1
		if to := domain(text, at+1); to > 0 {
			if from := local(text, left, at); from < at {
				spans = append(spans, Span{from, to, Email})
				left, next = to, to
			}
		}
		more := bytes.IndexByte(text[next:], '@')
		if more < 0 {
			break
		}
		at = next + more
	}
	return spans
}

// local returns where the part before the @ begins. Characters that are rare in it and common around it (/ = ? & { |
// } `) belong to it only at the beginning of the text. A quoted local part includes its quotes.
func local(text []byte, left, at int) int {
	if at > left && text[at-1] == '"' {
		if open := bytes.LastIndexByte(text[left:at-1], '"'); open >= 0 && at-1-(left+open) > 1 && at-(left+open) <= 66 {
			return left + open
		}
		return at
	}
	i := at
	for i > left && class[text[i-1]]&mailChar != 0 {
		i--
	}
	if i == left || left > 0 {
		return i
	}
	for k := i; ; k-- {
		if k == left {
			return left
		}
		c := text[k-1]
		if class[c]&mailChar == 0 && bytes.IndexByte([]byte("/=?&{|}`"), c) < 0 ||
			c == '/' && k >= 2 && text[k-2] == '/' || c == '?' || c == '=' {
			return i
		}
	}
}

// domain returns the end of the host after the @, or 0: it needs a dot and a top-level domain of at least two
// letters.
func domain(text []byte, from int) int {
	end, last := 0, from
	for i := from; ; i++ {
		if i < len(text) && class[text[i]]&hostChar != 0 {
			continue
		}
		if i == last || text[last] == '-' || text[i-1] == '-' && i == len(text) {
			break // empty label
		}
		if last > from && topLevel(text[last:i]) {
			end = i
		}
		if i >= len(text) || text[i] != '.' {
			break
		}
		last = i + 1
	}
	if end == 0 || picture(text[from:end]) {
		return 0
	}
	return end
}

func topLevel(part []byte) bool {
	if len(part) < 2 {
		return false
	}
	if len(part) > 4 && bytes.EqualFold(part[:4], []byte("xn--")) {
		return true
	}
	for _, c := range part {
		if class[c]&letter == 0 {
			return false
		}
	}
	return true
}

// picture tells whether a host is the end of a file name such as icon@2x.png.
func picture(host []byte) bool {
	scale, kind, _ := bytes.Cut(host, []byte("."))
	if len(scale) < 2 || class[scale[0]]&digit == 0 || scale[len(scale)-1]|0x20 != 'x' {
		return false
	}
	switch string(bytes.ToLower(kind)) {
	case "png", "jpg", "jpeg", "gif", "webp", "svg", "avif":
		return true
	}
	return false
}
