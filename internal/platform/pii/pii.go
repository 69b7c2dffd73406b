// Package pii finds personal data that has a structure: e-mail addresses, phone numbers, payment cards, IBANs, IP
// addresses and US social security numbers, in many notations. Checksums, issuers and lengths decide, not the form
// alone. It finds no names and no postal addresses, which have no structure.
//
// Text is examined in its folded form (Text): escapes resolved, full-width and other digits as ASCII, zero-width
// characters removed. The time is linear in the length of any text.
package pii

import "slices"

// Kind is what was found.
type Kind uint8

// The kinds that patterns find.
const (
	Email Kind = iota
	Phone
	Card
	IBAN
	IP
	SSN
)

// Span is a finding: text[From:To].
type Span struct {
	From, To int
	Kind     Kind
}

// Hint is what a field's name says about its text.
type Hint uint8

// Depending on the hint, a bare run of digits is no card or phone, four numbers are no address, or any run of digits
// may be a finding.
const (
	HintNone     Hint = iota
	HintID            // an order's or session's id: ungrouped digits are no finding
	HintVersion       // software version: 10.0.0.1 is no address
	HintPersonal      // phone or card: ungrouped digits may be a finding
)

// Finder finds personal data, with the phone formats of some regions. It may be used concurrently.
type Finder struct{ plans []plan }

// Finds appends the findings in a folded text to spans, in order and without overlaps.
func (f *Finder) Finds(text []byte, hint Hint, spans []Span) []Span {
	first := len(spans)
	spans = emails(text, spans)
	if mails := len(spans); mails == first {
		return f.between(text, 0, len(text), hint, spans)
	} else if mails-first == 1 {
		mail := spans[first]
		spans = f.between(text, 0, mail.From, hint, spans[:first])
		return f.between(text, mail.To, len(text), hint, append(spans, mail))
	}
	mails := slices.Clone(spans[first:])
	spans, at := spans[:first], 0
	for _, mail := range mails {
		spans = append(f.between(text, at, mail.From, hint, spans), mail)
		at = mail.To
	}
	return f.between(text, at, len(text), hint, spans)
}

// between searches text[from:to] for findings that begin with a digit, a letter, a plus sign, a colon or a bracket.
func (f *Finder) between(text []byte, from, to int, hint Hint, spans []Span) []Span {
	s := scan{text: text[:to], from: from, hint: hint, plans: f.plans}
	for i := from; i < to; {
		c := text[i]
		if class[c]&(digit|letter) == 0 && c != '+' && c != '(' && c != ':' {
			i++
			continue
		}
		if !s.starts(i) {
			i = s.word(i)
			continue
		}
		if end := max(token(s.text, i), uuid(s.text, i), instant(s.text, i)); end > 0 {
			i = end
			continue
		}
		if end, kind := s.at(i); end > i {
			spans = append(spans, Span{i, end, kind})
			i = end
			continue
		}
		i = s.word(i)
	}
	return spans
}

// scan is the search of one text.
type scan struct {
	text  []byte
	from  int // what precedes was another finding
	hint  Hint
	plans []plan
}

// at returns the end of the finding that begins at i, or 0.
func (s *scan) at(i int) (end int, kind Kind) {
	c := s.text[i]
	if class[c]&letter != 0 || c == ':' {
		if end = s.iban(i); end > 0 {
			return end, IBAN
		}
		return s.ipv6(i), IP
	}
	if class[c]&digit != 0 {
		if end = s.card(i); end > 0 {
			return end, Card
		}
		if end = s.ipv4(i); end > 0 {
			return end, IP
		}
		if end = s.ipv6(i); end > 0 {
			return end, IP
		}
		if end = s.ssn(i); end > 0 {
			return end, SSN
		}
	}
	return s.phone(i), Phone
}

// starts tells whether a word begins at i.
func (s *scan) starts(i int) bool {
	if i == s.from {
		return true
	}
	before := s.text[i-1]
	switch {
	case s.text[i] == '(':
		return class[before]&digit == 0
	case class[before]&(digit|letter) != 0:
		return false
	case before == '_':
		return class[s.text[i]]&digit != 0
	}
	return true
}

// word returns the end of the word that contains i.
func (s *scan) word(i int) int {
	if class[s.text[i]]&(digit|letter) == 0 {
		return i + 1
	}
	for i++; i < len(s.text) && class[s.text[i]]&(digit|letter) != 0; i++ {
	}
	return i
}

// ends tells whether a word may end at i.
func (s *scan) ends(i int) bool {
	return i >= len(s.text) || class[s.text[i]]&(digit|letter) == 0 && s.text[i] != '_'
}

const (
	digit = 1 << iota
	letter
	hexDigit
	mailChar // may occur before the @
	hostChar
	space
)

// class classifies the bytes of a folded text. A byte beyond ASCII counts as a letter of another script.
var class = func() (t [256]uint8) {
	for c := range t {
		switch {
		case c >= '0' && c <= '9':
			t[c] = digit | hexDigit | mailChar | hostChar
		case c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
			t[c] = letter | hexDigit | mailChar | hostChar
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= 0x80:
			t[c] = letter | mailChar | hostChar
		case c == '-':
			t[c] = mailChar | hostChar
		case c == '.', c == '_', c == '%', c == '+', c == '\'', c == '~', c == '!', c == '#', c == '$', c == '*', c == '^':
			t[c] = mailChar
		case c == ' ', c == '\t', c == '\n', c == '\r':
			t[c] = space
		}
	}
	return t
}()

// uuid returns the end of a UUID at i, or 0.
func uuid(text []byte, i int) int {
	if i+36 > len(text) {
		return 0
	}
	for k, c := range text[i : i+36] {
		if k == 8 || k == 13 || k == 18 || k == 23 {
			if c != '-' {
				return 0
			}
		} else if class[c]&hexDigit == 0 {
			return 0
		}
	}
	if i+36 < len(text) && class[text[i+36]]&(digit|letter) != 0 {
		return 0
	}
	return i + 36
}

// instant returns the end of an RFC 3339 date and time at i, including seconds and fraction, or 0.
func instant(text []byte, i int) int {
	const shape = "dddd-dd-ddTdd:dd"
	if i+len(shape) > len(text) {
		return 0
	}
	for k, c := range text[i : i+len(shape)] {
		switch shape[k] {
		case 'd':
			if class[c]&digit == 0 {
				return 0
			}
		case 'T':
			if c != 'T' && c != 't' && c != ' ' {
				return 0
			}
		default:
			if c != shape[k] {
				return 0
			}
		}
	}
	end := i + len(shape)
	for end < len(text) && (class[text[end]]&digit != 0 || text[end] == ':' || text[end] == '.') {
		end++
	}
	return end
}
