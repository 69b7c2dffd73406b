package pii

import "fmt"

// plan describes how phone numbers of a region are written nationally.
type plan struct {
	shapes  []string // 0 to 9: that digit; N: 2 to 9; #: any; blanks separate groups
	compact bool     // shapes without gaps count too, outside of fields of ids
}

// regions are the known plans by ISO 3166 code.
var regions = map[string]plan{
	"US": {shapes: []string{"N## N## ####", "1 N## N## ####"}},
	"GB": {shapes: []string{"02# #### ####", "011# ### ####", "01#1 ### ####", "01### ######", "01### ### ###",
		"01### #####",
		"07### ######", "07### ### ###", "07# #### ####", "0800 ### ####", "0808 ### ####", "03## ### ####"}, compact: true},
	"DE": {shapes: []string{"015## #######", "016# #######", "017# #######", "015# ########", "016# ########",
		"017# ########",
		"015## ### ####", "017# ### ####", "016# ### ####", "017# ## ## ###"}, compact: true},
	"FR": {shapes: []string{"01 ## ## ## ##", "02 ## ## ## ##", "03 ## ## ## ##", "04 ## ## ## ##", "05 ## ## ## ##",
		"06 ## ## ## ##", "07 ## ## ## ##", "09 ## ## ## ##"}, compact: true},
	"ES": {shapes: []string{"6## ### ###", "7## ### ###", "9## ### ###", "6## ## ## ##", "9## ## ## ##"}},
	"IT": {shapes: []string{"3## ### ####", "3## #######", "03## #######", "06 #### ####", "02 #### ####"}},
	"NL": {shapes: []string{"06 ########", "06 ## ## ## ##", "0## ### ####", "0## #######"}, compact: true},
	"AT": {shapes: []string{"06## #######", "06## ### ####", "06## ### ## ##", "01 ### ## ##", "01 #######"}},
	"BE": {shapes: []string{"04## ## ## ##", "04## ### ###", "02 ### ## ##", "03 ### ## ##", "0## ## ## ##"}},
	"DK": {shapes: []string{"N# ## ## ##"}},
	"NO": {shapes: []string{"N# ## ## ##", "4## ## ###", "9## ## ###"}},
	"NZ": {shapes: []string{"02# ### ####", "02# #### ###", "02# #### ####", "03 ### ####", "04 ### ####", "09 ### ####"}},
	"CH": {shapes: []string{"0## ### ## ##"}, compact: true},
	"AU": {shapes: []string{"04## ### ###", "02 #### ####", "03 #### ####", "07 #### ####", "08 #### ####"},
		compact: true},
	"IN": {shapes: []string{"N#### #####"}},
	"BR": {shapes: []string{"## 9#### ####", "## N### ####"}},
	"JP": {shapes: []string{"090 #### ####", "080 #### ####", "070 #### ####", "03 #### ####", "06 #### ####",
		"0## ### ####"}, compact: true},
}

// New returns a Finder that knows the national phone formats of these regions (ISO 3166 codes). International formats
// (+49 …, 0049 …) are always known.
func New(codes []string) (*Finder, error) {
	f := &Finder{}
	for _, code := range codes {
		p, ok := regions[code]
		if !ok {
			return nil, fmt.Errorf("no phone numbers of region %q are known: expected some of %s", code, known())
		}
		f.plans = append(f.plans, p)
	}
	return f, nil
}

func known() string { return "AT, AU, BE, BR, CH, DE, DK, ES, FR, GB, IN, IT, JP, NL, NO, NZ, US" }

// number is a candidate phone number: groups of digits with short separators.
type number struct {
	digits [20]byte
	n      int
	size   [8]int // digits in each group
	groups int
	end    int
}

// phone returns where a phone number at i ends, or 0.
func (s *scan) phone(i int) int {
	c := s.text[i]
	if c != '+' && c != '(' && class[c]&digit == 0 {
		return 0
	}
	if i > s.from && s.text[i-1] == '.' || i > s.from+1 && s.text[i-1] == '-' &&
		class[s.text[i-2]]&(digit|letter) != 0 && c != '+' {
		return 0 // inside another number
	}
	var d number
	plus := c == '+'
	if !s.read(i, &d) {
		return 0
	}
	if c == '(' && class[s.text[d.end-1]]&digit == 0 {
		return 0
	}
	switch {
	case plus:
		if d.n < 8 || d.n > 15 || !calling(d.digits[:d.n]) {
			return 0
		}
		return s.extension(d.end)
	case d.n >= 10 && d.n <= 17 && d.digits[0] == 0 && d.digits[1] == 0:
		if calling(d.digits[2:d.n]) && (d.groups > 1 && !s.decimals(i, &d) || s.hint == HintPersonal) {
			return s.extension(d.end)
		}
		return 0
	case s.hint == HintPersonal && d.n >= 7 && d.n <= 15:
		return s.extension(d.end)
	}
	if end := s.said(i, d); end > 0 {
		return s.extension(end)
	}
	// The last groups may belong to another number: try with fewer groups.
	if next := i + d.size[0] + 1; d.groups > 2 && next < len(s.text) && s.card(next) > 0 {
		return 0 // such as 12 4111 1111 …
	}
	for d.groups > 0 && d.n >= 7 {
		for p := range s.plans {
			if s.plans[p].takes(&d, s, i) {
				return s.extension(d.end)
			}
		}
		if !s.less(i, &d) {
			break
		}
	}
	return 0
}

// read reads groups of digits from i. It returns false when a word continues after them.
func (s *scan) read(i int, d *number) bool {
	t := s.text
	k := i
	if t[k] == '+' {
		k++
	}
	for k < len(t) && d.groups < len(d.size) {
		from := k
		for k < len(t) && class[t[k]]&digit != 0 && d.n < len(d.digits) {
			d.digits[d.n] = t[k] - '0'
			d.n++
			k++
		}
		if k < len(t) && class[t[k]]&digit != 0 {
			return false // too long
		}
		if k > from {
			d.size[d.groups] = k - from
			d.groups++
			d.end = k
		}
		gap := k
		for k < len(t) && k-gap < 3 && separates(t[k]) {
			k++
		}
		if k == gap || k >= len(t) || class[t[k]]&digit == 0 {
			break
		}
		if t[gap] == '(' && k+1 < len(t) && t[k] == '0' && t[k+1] == ')' { // +49 (0)151
			k += 2
			for k < len(t) && separates(t[k]) && t[k] != '(' {
				k++
			}
		}
	}
	return d.groups > 0 && s.endsNumber(d.end)
}

func separates(c byte) bool {
	return c == ' ' || c == '-' || c == '.' || c == '/' || c == '(' || c == ')'
}

// endsNumber tells whether a number may end at k: no word, time of day or decimal continues there.
func (s *scan) endsNumber(k int) bool {
	t := s.text
	if k >= len(t) {
		return true
	}
	if class[t[k]]&letter != 0 {
		return s.extension(k) > k
	}
	return s.ends(k) && !(t[k] == ':' && k+1 < len(t) && class[t[k+1]]&digit != 0)
}

// less removes the last group.
func (s *scan) less(i int, d *number) bool {
	if d.groups < 2 {
		return false
	}
	d.groups--
	d.n -= d.size[d.groups]
	k := d.end
	for k > i && class[s.text[k-1]]&digit != 0 {
		k--
	}
	for k > i && class[s.text[k-1]]&digit == 0 {
		k--
	}
	d.end = k
	return k > i
}

// takes tells whether a number has one of the plan's shapes.
func (p *plan) takes(d *number, s *scan, i int) bool {
	for _, shape := range p.shapes {
		if d.groups == 1 {
			if p.compact && s.hint != HintID && !s.named(i) && fits(shape, d, false) {
				return true
			}
			continue
		}
		if fits(shape, d, true) {
			return true
		}
	}
	return false
}

// fits compares a number with a shape, and with grouped also their groups.
func fits(shape string, d *number, grouped bool) bool {
	n, group, size := 0, 0, 0
	for k := 0; k <= len(shape); k++ {
		if k == len(shape) || shape[k] == ' ' {
			if grouped && (group >= d.groups || d.size[group] != size) {
				return false
			}
			group, size = group+1, 0
			continue
		}
		if n >= d.n {
			return false
		}
		switch c, have := shape[k], d.digits[n]; {
		case c == '#':
		case c == 'N':
			if have < 2 {
				return false
			}
		case have != c-'0':
			return false
		}
		n, size = n+1, size+1
	}
	return n == d.n && (!grouped || group == d.groups)
}

// extension returns the end of a number including an extension: x123, ext. 123, #123.
func (s *scan) extension(end int) int {
	t := s.text
	k := end
	for k < len(t) && k < end+2 && (t[k] == ' ' || t[k] == ',') {
		k++
	}
	word := k
	for k < len(t) && class[t[k]]&letter != 0 {
		k++
	}
	switch {
	case k == word && k < len(t) && t[k] == '#':
		k++
	case k == word || s.means(word, k)&wordExtension == 0:
		return end
	}
	for k < len(t) && (t[k] == ' ' || t[k] == '.' || t[k] == ':') {
		k++
	}
	from := k
	for k < len(t) && k-from < 6 && class[t[k]]&digit != 0 {
		k++
	}
	if k == from || !s.ends(k) {
		return end
	}
	return k
}

// calling tells whether digits begin with a country calling code.
func calling(d []byte) bool {
	if len(d) < 3 {
		return false
	}
	one, two := d[0], int(d[0])*10+int(d[1])
	if one == 1 || one == 7 {
		return true
	}
	switch two {
	case 20, 27, 30, 31, 32, 33, 34, 36, 39, 40, 41, 43, 44, 45, 46, 47, 48, 49, 51, 52, 53, 54, 55, 56, 57, 58, 60, 61,
		62,
		63, 64, 65, 66, 81, 82, 84, 86, 90, 91, 92, 93, 94, 95, 98:
		return true
	}
	switch two { // first two digits of three-digit codes
	case 21, 22, 23, 24, 25, 26, 29, 35, 37, 38, 42, 50, 59, 67, 68, 69, 80, 85, 87, 88, 96, 97, 99:
		return true
	}
	return false
}
