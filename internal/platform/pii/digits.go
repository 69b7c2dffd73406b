package pii

// card returns the end of a payment card number that begins at i, or 0: 13 to 19 digits, grouped or not, with a known
// issuer, its length and a valid check digit. Ungrouped digits in a field of ids do not count.
func (s *scan) card(i int) int {
	var number [19]byte
	n, end, groups := 0, i, 1
	for k := i; k < len(s.text); k++ {
		c := s.text[k]
		if class[c]&digit != 0 {
			if n == len(number) {
				if groups > 1 {
					return s.cardGroups(i)
				}
				return 0
			}
			number[n] = c - '0'
			n, end = n+1, k+1
			continue
		}
		if !parts(c) || k+1 >= len(s.text) || class[s.text[k+1]]&digit == 0 || n < 3 {
			break
		}
		if issued(number[:n]) && luhn(number[:n]) && groups == 1 && n >= 13 {
			break // one run of digits is a whole card: what follows is another word
		}
		groups++
	}
	known := issued(number[:n]) || likely(number[:n]) && s.paying(i)
	if groups > 6 || !s.ends(end) || !known || !luhn(number[:n]) {
		if groups > 1 {
			return s.cardGroups(i)
		}
		return 0
	}
	if groups == 1 && s.hint != HintPersonal && (s.hint == HintID || s.named(i)) {
		return 0
	}
	return end
}

// cardGroups returns the end of the longest grouped card that begins at i, or 0.
func (s *scan) cardGroups(i int) (end int) {
	var number [19]byte
	n, groups := 0, 1
	for k := i; k < len(s.text) && n < len(number) && groups <= 5; k++ {
		c := s.text[k]
		if class[c]&digit != 0 {
			number[n] = c - '0'
			n++
			last := k+1 >= len(s.text) || class[s.text[k+1]]&digit == 0
			if last && groups > 1 && s.ends(k+1) && issued(number[:n]) && luhn(number[:n]) {
				end = k + 1
			}
			continue
		}
		if !parts(c) || k+1 >= len(s.text) || class[s.text[k+1]]&digit == 0 {
			break
		}
		groups++
	}
	return end
}

// parts tells whether a character may separate groups of a card's digits.
func parts(c byte) bool { return c == ' ' || c == '-' || c == '.' || c == '\n' }

// luhn checks the check digit.
func luhn(number []byte) bool {
	sum := 0
	for i := range number {
		d := int(number[len(number)-1-i])
		if i%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}

// issued tells whether an issuer has cards with these first digits and this length.
func issued(number []byte) bool {
	n := len(number)
	if n < 13 || n > 19 {
		return false
	}
	head := 0
	for _, d := range number[:6] {
		head = head*10 + int(d)
	}
	in := func(low, high int) bool { return head >= low && head <= high }
	switch {
	case in(400000, 499999):
		return n == 13 || n == 16 || n == 19
	case in(510000, 559999), in(222100, 272099): // Mastercard
		return n == 16
	case in(340000, 349999), in(370000, 379999): // American Express
		return n == 15
	case in(300000, 305999), in(309500, 309599), in(360000, 369999), in(380000, 399999): // Diners
		return n == 14 || n == 16
	case in(352800, 358999): // JCB
		return n >= 16
	case in(213100, 213199), in(180000, 180099): // JCB, old numbers
		return n == 15
	case in(601100, 601199), in(644000, 659999), in(620000, 629999): // Discover, UnionPay
		return n >= 16
	case in(501800, 501899), in(502000, 502099), in(503800, 503899), in(589300, 589399),
		in(630400, 630499), in(675900, 675999), in(676100, 676399): // Maestro
		return true
	}
	return false
}

// likely is a weaker issued, for digits that words call a card: all ranges that JCB and Maestro may use.
func likely(number []byte) bool {
	n := len(number)
	if n < 12 {
		return false
	}
	switch head := number[0]*10 + number[1]; {
	case head == 35:
		return n == 16
	case head == 50, head >= 56 && head <= 69:
		return true
	}
	return false
}

// ssn returns the end of a US social security number at i, or 0. Without hyphens it counts only in a personal field.
func (s *scan) ssn(i int) int {
	t := s.text
	part := func(at, n int) (value int, ok bool) {
		if at+n > len(t) {
			return 0, false
		}
		for _, c := range t[at : at+n] {
			if class[c]&digit == 0 {
				return 0, false
			}
			value = value*10 + int(c-'0')
		}
		return value, true
	}
	gap := 0
	if i+3 < len(t) && (t[i+3] == '-' || t[i+3] == ' ') {
		gap = 1
	}
	if s.hint != HintPersonal && (gap == 0 || t[i+3] == ' ') {
		return 0
	}
	area, ok1 := part(i, 3)
	group, ok2 := part(i+3+gap, 2)
	serial, ok3 := part(i+5+2*gap, 4)
	end := i + 9 + 2*gap
	if !ok1 || !ok2 || !ok3 || !s.ends(end) || gap == 1 && t[i+6] != t[i+3] {
		return 0
	}
	if end+1 < len(t) && t[end] == '-' && class[t[end+1]]&digit != 0 {
		return 0
	}
	if i > s.from+1 && t[i-1] == '-' && class[t[i-2]]&digit != 0 {
		return 0
	}
	if area == 0 || area == 666 || area >= 900 || group == 0 || serial == 0 {
		return 0
	}
	return end
}
