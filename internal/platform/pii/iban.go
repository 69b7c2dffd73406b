package pii

import "bytes"

// ibanLengths are the lengths of IBANs by country, from SWIFT's registry.
var ibanLengths = map[string]int{
	"AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29, "BY": 28,
	"CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18,
	"FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HN": 28, "HR": 21, "HU": 28,
	"IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20,
	"LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28,
	"NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24,
	"SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26,
	"UA": 29, "VA": 22, "VG": 24, "XK": 20, "YE": 30,
}

// iban returns the end of an IBAN at i, or 0: a known country, its length, grouped or not, and valid check digits.
func (s *scan) iban(i int) int {
	t := s.text
	if i+15 > len(t) {
		return 0
	}
	if bytes.EqualFold(t[i:i+4], []byte("iban")) { // IBANDE89…
		if end := (&scan{text: t, from: i + 4}).iban(i + 4); end > 0 {
			return end
		}
	}
	country := [2]byte{t[i] &^ 0x20, t[i+1] &^ 0x20}
	want := ibanLengths[string(country[:])]
	if want == 0 || class[t[i]]&class[t[i+1]]&letter == 0 {
		return 0
	}
	// The check is computed on the text rotated by four characters: keep remainders of both parts.
	var head, rest int
	n, k := 0, i
	for ; k < len(t) && n < want; k++ {
		c := t[k]
		value := 0
		switch {
		case class[c]&digit != 0:
			value = int(c - '0')
		case class[c]&letter != 0 && c < 0x80:
			value = int(c|0x20) - 'a' + 10
		case (c == ' ' || c == '-' || c == '\n') && n > 0 && k+1 < len(t) && class[t[k+1]]&(digit|letter) != 0:
			continue
		default:
			return 0
		}
		if n == 2 || n == 3 {
			if value > 9 {
				return 0
			}
		}
		into := &rest
		if n < 4 {
			into = &head
		}
		if value > 9 {
			*into = (*into*100 + value) % 97
		} else {
			*into = (*into*10 + value) % 97
		}
		n++
	}
	// head is two letters and two digits: six digits once written as numbers
	const million = 1000000 % 97
	if n < want || !s.ends(k) || (rest*million+head)%97 != 1 {
		return 0
	}
	return k
}
