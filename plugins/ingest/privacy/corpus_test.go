package privacy

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// corpus makes personal data of each kind in many writings, and clean events.
type corpus struct{ *rand.Rand }

func (c corpus) one(of ...string) string { return of[c.IntN(len(of))] }

func (c corpus) digits(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('0' + c.IntN(10))
	}
	return string(b)
}

// shaped replaces each # by a digit and each N by one of 2 to 9.
func (c corpus) shaped(shape string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case '#':
			return rune('0' + c.IntN(10))
		case 'N':
			return rune('2' + c.IntN(8))
		}
		return r
	}, shape)
}

func (c corpus) email() string {
	local := c.one("ann", "bob.lee", "c_d", "x+tag", "o'hara", "1234567", "Jürgen", "a-b-c", "info")
	host := c.one("example.com", "mail.example.co.uk", "müller.example", "example.org", "x1.example.travel",
		"sub.domain.example.de")
	at := c.one("@", "@", "@", "@", "＠", "%40", "&#64;", "\u200b@")
	return c.one("", "", "<", "mailto:") + local + at + host
}

func (c corpus) card() string {
	prefix := c.one("4", "51", "55", "2221", "34", "37", "6011", "65", "36", "3528", "622126")
	length := map[string]int{"34": 15, "37": 15, "36": 14}[prefix]
	if length == 0 {
		length = 16
	}
	number := prefix + c.digits(length-1-len(prefix))
	sum := 0
	for i := range number {
		d := int(number[len(number)-1-i] - '0')
		if i%2 == 0 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	number += fmt.Sprint((10 - sum%10) % 10)
	gap := c.one("", "", " ", "-")
	sizes := []int{4, 4, 4, 4}
	if length == 15 {
		sizes = []int{4, 6, 5}
	} else if length == 14 {
		sizes = []int{4, 6, 4}
	}
	var groups []string
	for at, k := 0, 0; at < length; k++ {
		groups = append(groups, number[at:at+sizes[k]])
		at += sizes[k]
	}
	return c.wide(strings.Join(groups, gap))
}

// wide writes digits in full width, now and then.
func (c corpus) wide(s string) string {
	if c.IntN(10) != 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r - '0' + '０'
		}
		return r
	}, s)
}

func (c corpus) iban() string {
	country, length := "DE", 22
	switch c.IntN(5) {
	case 1:
		country, length = "NL", 18
	case 2:
		country, length = "FR", 27
	case 3:
		country, length = "GB", 22
	case 4:
		country, length = "ES", 24
	}
	account := c.digits(length - 4)
	if country == "NL" || country == "GB" {
		account = "ABNA" + account[4:]
	}
	rest := 0
	for _, r := range account + country + "00" {
		if r >= 'A' {
			rest = (rest*100 + int(r-'A') + 10) % 97
		} else {
			rest = (rest*10 + int(r-'0')) % 97
		}
	}
	number := fmt.Sprintf("%s%02d%s", country, 98-rest, account)
	if c.IntN(2) == 0 {
		return c.one(number, strings.ToLower(number))
	}
	var groups []string
	for len(number) > 4 {
		groups, number = append(groups, number[:4]), number[4:]
	}
	return strings.Join(append(groups, number), c.one(" ", "-"))
}

func (c corpus) phone() string {
	return c.wide(c.shaped(c.one("+49 151 ########", "+4915#########", "+1-N##-N##-####", "(N##) N##-####", "N##-N##-####",
		"N##.N##.####", "+44 20 #### ####", "020 #### ####", "07### ######", "+33 6 ## ## ## ##", "06 ## ## ## ##",
		"0151 ########",
		"0049 171 #######", "+49 (0)30 #######", "1-N##-N##-####", "+86 138 #### ####", "+81-90-####-####",
		"(N##)N##-####x###")))
}

func (c corpus) ip() string {
	if c.IntN(2) == 0 {
		return fmt.Sprintf("%d.%d.%d.%d", 1+c.IntN(120), c.IntN(256), c.IntN(256), c.IntN(256))
	}
	return c.one(fmt.Sprintf("2001:db8::%x:%x", c.IntN(65535), 4096+c.IntN(60000)),
		fmt.Sprintf("2a02:%x:%x:%x:%x:%x:%x:%x", c.IntN(65535), 1+c.IntN(65535), c.IntN(65535), c.IntN(65535), c.IntN(65535),
			c.IntN(65535), c.IntN(65535)), fmt.Sprintf("fe80::%x1", c.IntN(4096)))
}

func (c corpus) ssn() string {
	return fmt.Sprintf("%03d-%02d-%04d", 1+c.IntN(664), 1+c.IntN(99), 1+c.IntN(9999))
}

// around is where a value stands in an event.
func (c corpus) around(value string) string {
	return c.one(`{"note":"%s"}`, `{"note":"please use %s, thanks"}`, `{"a":{"b":["x","%s"]}}`,
		`{"body":"{\"v\":\"%s\"}"}`,
		`{"note":"(%s)"}`, `{"note":"value=%s;"}`, `{"%s":1}`, `{"list":[1,2,"%s"]}`)
}

// Of ten thousand values of personal data in many writings and places, at least
// 99 % are found, of each kind.
func TestPrivacy_FindsWhatIsPersonal(t *testing.T) {
	w := walkerOf(t, "{}")
	c := corpus{rand.New(rand.NewPCG(7, 17))}
	for name, make := range map[string]func() string{
		"email": c.email, "card": c.card, "iban": c.iban, "phone": c.phone, "ip": c.ip, "ssn": c.ssn,
	} {
		const tries = 2000
		missed := 0
		for range tries {
			value := make()
			raw := strings.Replace(c.around(value), "%s", value, 1)
			if got := string(w.bytes([]byte(raw))); !strings.Contains(got, "["+name+"]") {
				if missed++; missed <= 3 {
					t.Logf("%s: missed in %s, which became %s", name, raw, got)
				}
			}
		}
		if missed > tries/100 {
			t.Errorf("%s: %d of %d missed", name, missed, tries)
		}
	}
}

// clean is an event with nothing personal, of what looks most like it.
func (c corpus) clean(i int) string {
	uuid := c.uuid()
	return fmt.Sprintf(`{"event_id":"%s","device_id":"pump-%d","device_firmware_version":"%d.%d.%d","timestamp":"2026-11-%02dT%02d:15:00.%sZ",`+
		`"metrics":{"cpu_temp":%d.%s,"battery_voltage":3.%s,"uptime_ms":%s},"diagnostics":{"order_id":"%s","order_number":%s,`+
		`"tracking_number":"%s","at_ms":%s,"firmware":"10.%d.%d.%d","trace_id":"%s","build":"%s","log":"%s","mac":"00:1b:%02x:%02x:3a:b7",`+
		`"ratio":%s.%s,"bytes":%s}}`,
		uuid, i, c.IntN(4), c.IntN(20), c.IntN(20), 1+c.IntN(28), c.IntN(24), c.digits(6), c.IntN(90), c.digits(2),
		c.digits(2),
		"17"+c.digits(11), c.digits(8+c.IntN(12)), "4"+c.digits(15), c.digits(12), "17"+c.digits(11), c.IntN(9), c.IntN(9),
		c.IntN(99),
		strings.ReplaceAll(uuid, "-", ""), c.digits(8), c.shaped(c.one("restarted at 09:##:##, code ####",
			"wrote ###### bytes in ## ms",
			"order 4############### packed", "pressure 1.###,## over #.#.#", "sector ######-##", "job 2026-11-## ##:##:## done",
			"v1.#.#.## of 2026-##-##", "(###) items, 12 of ####", "call ####### took ## ms", "cell 3### 3### 3###",
			"mobile ######## bytes",
			"last call 17########", "contact ## closed after ### ####", "home: ##.### ##.###",
			"calls ### of ####### on line ##")), c.IntN(256), c.IntN(256), c.digits(3)[:1], c.digits(9),
		"1"+c.digits(9))
}

func (c corpus) uuid() string {
	h := fmt.Sprintf("%016x%016x", c.Uint64(), c.Uint64())
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// Of a hundred thousand clean events and ids of orders, none has anything
// taken for personal data.
func TestPrivacy_LeavesTelemetryAlone(t *testing.T) {
	w := walkerOf(t, "{}")
	c := corpus{rand.New(rand.NewPCG(3, 5))}
	const events = 100_000
	hits := 0
	for i := range events {
		raw := c.clean(i)
		if got := string(w.bytes([]byte(raw))); got != raw {
			if hits++; hits <= 3 {
				t.Logf("%s\nbecame %s", raw, got)
			}
		}
	}
	if hits > 0 {
		t.Errorf("%d of %d clean events were changed", hits, events)
	}
	t.Logf("%d of %d", hits, events)
}

func benchmark(b *testing.B, raw string) {
	w := walkerOf(b, "{}")
	event := []byte(raw)
	b.SetBytes(int64(len(event)))
	b.ReportAllocs()
	for b.Loop() {
		w.bytes(event)
	}
}

// An event of 600 bytes without a hit is to cost 5 µs at most.
func BenchmarkPrivacy_Clean(b *testing.B) {
	raw := corpus{rand.New(rand.NewPCG(3, 5))}.clean(1)
	benchmark(b, raw+strings.Repeat(" ", max(0, 600-len(raw))))
}

func BenchmarkPrivacy_Hits(b *testing.B) {
	benchmark(b,
		`{"user":{"email":"ann@example.com","phone":"+49 151 12345678","id":"u-1"},"payload":{"text":"call 202-555-0143"}}`)
}

// An event of a visit to a shop, by a walker that has seen what the browser says of
// itself, and by one that has not.
func BenchmarkPrivacy_Visit(b *testing.B) {
	event := []byte(`{"event_id":"6f1c2a34-9b7d-4e21-8a55-0c1d2e3f4a5b","device_id":"press-00017",` +
		`"device_firmware_version":"1.2.0","timestamp":"2026-11-28T00:00:00Z","metrics":{},` +
		`"metadata":{"type":"page_viewed","source":"web"},"user":{"id":"u-17","email":"u-17@example.com"},` +
		`"context":{"user_agent":"Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/128.0","ip":"198.51.100.7"},"payload":{"page":"/p/17"}}`)
	for _, by := range []string{"seen", "anew"} {
		b.Run(by, func(b *testing.B) {
			w := walkerOf(b, "actions: { email: hash, phone: hash, ip: drop }\nkeys: "+testKeys)
			b.ReportAllocs()
			for b.Loop() {
				if by == "anew" {
					clear(w.clean.recent)
				}
				w.bytes(event)
			}
		})
	}
}
