package pii

import (
	"strings"
	"testing"
	"time"
)

func finder(t testing.TB) *Finder {
	t.Helper()
	f, err := New([]string{"US", "GB", "DE", "FR", "ES", "IT", "NL", "CH", "AU", "IN", "BR", "JP"})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// shown is a text with what was found in it between marks.
func shown(f *Finder, text string, hint Hint) string {
	var folded Text
	folded.Fold([]byte(text), false)
	var out strings.Builder
	at := 0
	for _, s := range f.Finds(folded.Folded, hint, nil) {
		from, to := folded.Raw(s.From, s.To)
		out.WriteString(text[at:from])
		out.WriteString("<" + []string{"email", "phone", "card", "iban", "ip", "ssn"}[s.Kind] + ">")
		at = to
	}
	return out.String() + text[at:]
}

func TestFinder_HomeNumbersOfARegionAreKnownThereAlone(t *testing.T) {
	for region, written := range map[string][]string{"AT": {"0660 565 36 45", "0664 1234567"},
		"BE": {"0477 11 28 98", "02 123 45 67"}, "DK": {"50-98-28-96", "20 32 85 26"},
		"NO": {"25 62 29 72", "412 34 567"}, "NZ": {"(027) 7972-805", "021 123 4567"},
		"IT": {"0348 2102744"}, "GB": {"078 6657 2626"}} {
		there, err := New([]string{region})
		if err != nil {
			t.Fatal(err)
		}
		us, err := New([]string{"US"})
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range written {
			if found := there.Finds([]byte(text), HintNone, nil); len(found) != 1 || found[0] != (Span{0, len(text), Phone}) {
				t.Errorf("%s in %s: %v", text, region, found)
			}
			if found := us.Finds([]byte(text), HintNone, nil); len(found) != 0 {
				t.Errorf("%s in the US: %v", text, found)
			}
		}
	}
}

func TestFinds_EachKindInItsWritings(t *testing.T) {
	f := finder(t)
	for text, want := range map[string]string{
		// e-mail
		"ann@example.com": "<email>", "Ann <ann.b+c@mail.example.co.uk>, yes": "Ann <<email>>, yes",
		"mailto:o'brien@example.org?subject=x": "mailto:<email>?subject=x",
		"ann＠example．com":                      "<email>", "ann﹫example.com": "<email>",
		"a\u200bnn@exam\u00adple.com": "<email>",
		"jürgen@müller.example":       "<email>", "ann%40example.com": "<email>", "ann%2540example.com": "<email>",
		"ann&#64;example.com": "<email>", "ann&#x40;example&period;com": "<email>", "ann&commat;example.com": "<email>",
		`"ann b"@example.com`: "<email>", "x@example.xn--p1ai": "<email>", "user/dept@example.com": "<email>",
		"a@example.com,b@example.com": "<email>,<email>", "postgres://u:pw@db.example.com/x": "postgres://u:<email>/x",
		"x@y": "x@y", "icon@2x.png": "icon@2x.png", "@ann.example": "@ann.example", "a@b.c": "a@b.c",
		"npm@1.2.3": "npm@1.2.3",
		// cards
		"4111111111111111": "<card>", "4111 1111 1111 1111": "<card>", "4111-1111-1111-1111": "<card>",
		"3782 822463 10005":             "<card>",
		"card 5555555555554444, thanks": "card <card>, thanks", "6011000990139424": "<card>", "30569309025904": "<card>",
		"３５３０１１１３３３３０００００": "<card>", "٤١١١١١١١١١١١١١١١": "<card>", "4111\u200b1111\u200b1111\u200b1111": "<card>",
		"pays 12 4111 1111 1111 1111": "pays 12 <card>", "4111 1111 1111 1111 123": "<card> 123",
		"4111 1111 1111 1111 12/29": "<card> 12/29", "4222222222222": "<card>", "4111111111111112": "4111111111111112",
		"1732700000000": "1732700000000", "order 4111111111111111": "order 4111111111111111",
		"order no. 4111111111111111": "order no. 4111111111111111", "x4111111111111111": "x4111111111111111",
		"41111111-1111-4111-8111-111111111111": "41111111-1111-4111-8111-111111111111",
		// IBAN
		"DE89370400440532013000": "<iban>", "DE89 3704 0044 0532 0130 00": "<iban>",
		"gb29 NWBK 6016 1331 9268 19 is mine": "<iban> is mine",
		"IBAN: FR1420041010050500013M02606":   "IBAN: <iban>", "IBANDE89370400440532013000": "<iban>",
		"NO93-8601-1117-947":     "<iban>",
		"DE88370400440532013000": "DE88370400440532013000", "ＤＥ８９３７０４００４４０５３２０１３０００": "<iban>",
		// IP
		"203.0.113.7": "<ip>", "from 203.0.113.7:443/x": "from <ip>:443/x", "http://203.0.113.7/": "http://<ip>/",
		"10.0.0.0/8":              "<ip>/8",
		"2001:db8::8a2e:370:7334": "<ip>", "[2001:db8::1]:443": "[<ip>]:443",
		"2001:0db8:85a3:0000:0000:8a2e:0370:7334": "<ip>",
		"::ffff:203.0.113.7":                      "<ip>",
		"fe80::1":                                 "<ip>",
		"::1":                                     "::1",
		"127.0.0.1":                               "127.0.0.1",
		"0.0.0.0":                                 "0.0.0.0",
		"Chrome/126.0.0.0 Safari/537.36":          "Chrome/126.0.0.0 Safari/537.36", "version 1.2.3.4": "version 1.2.3.4",
		"v1.2.3.4": "v1.2.3.4", "1.3.6.1.4.1.311": "1.3.6.1.4.1.311", "256.1.1.1": "256.1.1.1", "09:15:00": "09:15:00",
		"00:1b:44:11:3a:b7": "00:1b:44:11:3a:b7", "00:11:22:33:44:55:66:77": "00:11:22:33:44:55:66:77",
		"std::cafe": "std::cafe",
		// SSN
		"078-05-1120": "<ssn>", "ssn 219-09-9999.": "ssn <ssn>.", "000-12-3456": "000-12-3456", "666-12-3456": "666-12-3456",
		"912-34-5678": "912-34-5678", "123-45-67890": "123-45-67890", "1123-45-6789": "1123-45-6789",
		// phones
		"+4915112345678": "<phone>", "+49 151 12345678": "<phone>", "+49 (0)151 / 123 456-78": "<phone>",
		"0049 151 12345678": "<phone>",
		"+1-202-555-0143":   "<phone>", "(202) 555-0143": "<phone>", "202-555-0143": "<phone>", "202.555.0143": "<phone>",
		"1-202-555-0143": "<phone>", "202-555-0143 x123": "<phone>", "202-555-0143x123": "<phone>",
		"call 020 7946 0958 now": "call <phone> now", "07911 123456": "<phone>", "07911123456": "<phone>",
		"01 23 45 67 89": "<phone>",
		"0151 12345678":  "<phone>", "015112345678": "<phone>", "+33 1 23 45 67 89": "<phone>", "＋４９１５１１２３４５６７８": "<phone>",
		"+44 20 7946 0958, ext. 12": "<phone>", "+44 20 7946 0958 ext. 12": "<phone>", "612 345 678": "<phone>",
		"090-1234-5678": "<phone>", "(11) 98765-4321": "<phone>", "%2B49+151+12345678": "%2B49+151+12345678",
		// what words around say
		"not answering at (88) 684-334": "not answering at <phone>", "you can call 33 93 31": "you can call <phone>",
		"25 833387-Office, 001-432-815-4117-Fax": "<phone>-Office, <phone>-Fax",
		"61 51 81 office\n2813882583 mobile":     "<phone> office\n<phone> mobile",
		"Tanzania 53144\n0910-5877671 office":    "Tanzania 53144\n<phone> office",
		"my number is 785 8949":                  "my number is <phone>", "meine Nummer: 785 8949": "meine Nummer: <phone>",
		"reach us at 070-073-058": "reach us at <phone>", "erreichbar unter 25 833387": "erreichbar unter <phone>",
		"tél. 0487 23 46 71": "tél. <phone>", "TÉL 0487 23 46 71": "TÉL <phone>", "Тел.: 21 232 945": "Тел.: <phone>",
		"電話：２１ ２３２ ９４５": "電話：<phone>", "call me back at 2813882583": "call me back at <phone>",
		"phone 2813882583": "phone <phone>", "my cell is 51-16-34-25": "my cell is <phone>",
		"(021) 0025-967 cell": "<phone> cell", "call 166-684-7899 ext. 12": "call <phone>",
		"fax 166-684-7899 Durchwahl 12":      "fax <phone>",
		"call a taxi to 03 2657 Koontz Lane": "call a taxi to 03 2657 Koontz Lane",
		"last call 1732700000":               "last call 1732700000", "call 05 11 26": "call 05 11 26",
		"tel 05.11.26":           "tel 05.11.26",
		"phone order 12 345 678": "phone order 12 345 678", "mobile 12 500 000 bytes": "mobile 12 500 000 bytes",
		"12 500 000 mobile users": "12 500 000 mobile users", "cell 3712 3715 3716": "cell 3712 3715 3716",
		"home: 52.520 13.405": "home: 52.520 13.405", "call 1 2 3 4 5 6 7": "call 1 2 3 4 5 6 7",
		"contact closed 12 345678": "contact closed 12 345678", "office 12 345678": "office 12 345678",
		"my card is 3502162941615515": "my card is <card>", "card 503890547220": "card <card>",
		"the last 10 transaction of card 180051662803027": "the last 10 transaction of card <card>",
		"code 3502162941615515":                           "code 3502162941615515", "card 503890547221": "card 503890547221",
		"phone: 96 228 011": "phone: <phone>", "call me at 25-62-29-72": "call me at <phone>",
		"wrote 25-62-29-72":        "wrote 25-62-29-72",
		"call on 27.11.2026 09:00": "call on 27.11.2026 09:00", "call 2026-11-27 09": "call 2026-11-27 09",
		"2026-11-27": "2026-11-27", "01.02.2026 12:30": "01.02.2026 12:30",
		"2026-11-27T09:15:00.123456+01:00":     "2026-11-27T09:15:00.123456+01:00",
		"2026-11-27 09:15:00 +0100":            "2026-11-27 09:15:00 +0100",
		"1.234.567,89":                         "1.234.567,89",
		"555-1234":                             "555-1234",
		"0197b2f4-5d0e-7c3a-9f1e-3b5a7c9d1e2f": "0197b2f4-5d0e-7c3a-9f1e-3b5a7c9d1e2f", "+0100": "+0100",
		"a+12345678": "a+12345678",
		// what an earlier pass left
		"[email] pii-email-k1-" + strings.Repeat("ap", 16): "[email] pii-email-k1-" + strings.Repeat("ap", 16),
		"tok-card-4111111-abcdefgh":                        "tok-card-4111111-abcdefgh",
	} {
		if got := shown(f, text, HintNone); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestFinds_TheFieldDecidesWhereDigitsDoNot(t *testing.T) {
	f := finder(t)
	for _, c := range []struct {
		text string
		hint Hint
		want string
	}{
		{"4111111111111111", HintID, "4111111111111111"}, {"4111 1111 1111 1111", HintID, "<card>"},
		{"2025550143", HintNone, "2025550143"}, {"2025550143", HintPersonal, "<phone>"},
		{"078051120", HintNone, "078051120"}, {"078051120", HintPersonal, "<ssn>"}, {"078 05 1120", HintPersonal, "<ssn>"},
		{"10.20.30.40", HintVersion, "10.20.30.40"}, {"07911123456", HintID, "07911123456"},
		{"ann@example.com", HintID, "<email>"},
	} {
		if got := shown(f, c.text, c.hint); got != c.want {
			t.Errorf("%q of %d: %q, want %q", c.text, c.hint, got, c.want)
		}
	}
}

// Whatever a text holds, looking at it takes time in proportion: a megabyte of what
// makes each finder begin.
func TestFinds_TakesTimeInProportion(t *testing.T) {
	f := finder(t)
	const size = 1 << 20
	for name, unit := range map[string]string{
		"digits": "4", "groups": "4111 ", "at": "@", "addresses": "a@a", "almost addresses": "a@b.", "hyphens": "4-",
		"colons":   "a:",
		"plus":     "+4",
		"brackets": "(4",
		"dots":     "1.",
		"ibans":    "DE89 ",
		"order":    "order ",
		"quotes":   "\"@",
		"escapes":  "%40",
		"tokens":   "pii-", "zero width": "4\u200b", "slashes": "/a@", "words before": "order 4111111111111111 ",
	} {
		text := []byte(strings.Repeat(unit, size/len(unit)))
		began := time.Now()
		var folded Text
		folded.Fold(text, true)
		f.Finds(folded.Folded, HintNone, nil)
		if took := time.Since(began); took > time.Minute { // a tenth of a second where it was written
			t.Errorf("%s: %v for a megabyte", name, took)
		}
	}
}

func TestNew_RefusesARegionThatItDoesNotKnow(t *testing.T) {
	if _, err := New([]string{"US", "XX"}); err == nil || !strings.Contains(err.Error(), `"XX"`) {
		t.Fatalf("%v", err)
	}
	for code := range regions {
		if !strings.Contains(known(), code) {
			t.Errorf("%s is not told", code)
		}
	}
}
