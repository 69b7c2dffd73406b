package pii

import "bytes"

// Digits in no known phone format may still be a phone number if the words around them say so: "call me at 96
// 228011", "25 833387 office". The words are those of forms, signatures and messages, in the languages of the regions
// and a few more.

// meaning is what a word says about a number beside it. A word may have several.
type meaning uint16

const (
	wordLabel     meaning = 1 << iota // a phone number: tel, fax, mobile
	wordCall                          // phoning somebody, or something else: call
	wordReach                         // contacting somebody: reach … at
	wordAt                            // connects that to the number: at, on
	wordNumber                        // number, no.
	wordOwn                           // my, our
	wordPerson                        // me, you
	wordSite                          // location of a phone: office, home
	wordExtension                     // x, ext.
	wordID                            // something with an id: order, ticket
	wordCard                          // payment card
	wordUnit                          // unit of measurement or count
)

// longestWord is the maximum length in bytes of a word with a meaning.
const longestWord = 24

// meanings maps words, lowered as means does, to their meaning.
var meanings = func() map[string]meaning {
	all := map[string]meaning{}
	for means, words := range map[meaning]string{
		wordLabel: `phone telephone tel mobile cellphone landline fax telefax dial whatsapp sms msisdn hotline voicemail
			telefon handy mobil festnetz rufnummer telefonnummer handynummer mobilnummer faxnummer anrufen
			téléphone portable tél fixe télécopie teléfono telefono móvil movil celular llamar llame llámame
			cellulare chiamare chiama chiamami telefone telemóvel telemovel ligue ligar
			telefoon telefoonnummer mobiel bellen gsm tlf puhelin puhelinnumero matkapuhelin komórka zadzwoń
			телефон Телефон тел Тел мобильный звоните 電話 電話番号 携帯 携帯電話 电话 电话号码 手机 手机号 전화 전화번호 휴대폰 फोन هاتف`,
		wordCall: `call calling ring phoning appeler appelez ruf ringen`,
		wordReach: `reach reached answering answer contact contacted text texted message messages
			erreichen erreichbar erreiche joindre joignable contacter contactez contactar localizar raggiungere
			contattare contatar bereiken bereikbaar`,
		wordAt:     `at on to under is via unter auf au al en allo ao no op onder på`,
		wordNumber: `number num no nr nummer numéro numero número nº numer registered cell`,
		wordOwn: `my our your his her their mein meine meiner unsere ihre mon notre son mi mis nuestro su mio nostro suo meu
			minha nosso mijn ons onze min mitt`,
		wordPerson: `me us you him them back someone somebody mich uns sie dich moi nous vous`,
		wordSite: `office home work desk direct privat dienstlich büro bureau domicile oficina casa ufficio escritório
			kantoor thuis kontor cell`,
		wordExtension: `x ext extn extension durchwahl dw poste anexo ramal interno`,
		wordID: `order orders invoice ticket tracking shipment parcel serial sku batch lot transaction txn trace session
			request reference ref id imei bestellung auftrag rechnung commande pedido`,
		wordCard: `card creditcard cc visa mastercard maestro amex kreditkarte karte carte tarjeta cartão carta`,
		wordUnit: `bytes kb mb gb kib mib gib bit bits ms us ns s sec seconds min minutes hours times items users calls events
			packets requests retries rpm hz mv ma rows records units steps`,
	} {
		for _, word := range bytes.Fields([]byte(words)) {
			all[string(lowered(word, make([]byte, len(word))))] |= means
		}
	}
	return all
}()

// lowered sets bit 0x20 in each byte, which lowers ASCII and Latin letters. Words of other scripts become something
// else, but always the same.
func lowered(word, into []byte) []byte {
	for i, c := range word {
		into[i] = c | 0x20
	}
	return into[:len(word)]
}

// means returns the meaning of the word text[from:to].
func (s *scan) means(from, to int) meaning {
	if from >= to || to-from > longestWord {
		return 0
	}
	var low [longestWord]byte
	return meanings[string(lowered(s.text[from:to], low[:]))]
}

// sooner is how many words before a number count, and near the maximum distance in bytes.
const (
	sooner = 4
	near   = 56
)

// before returns the meanings of the words before i, nearest first, as far as no digits lie between. labelled tells
// whether a colon stands between the nearest word and i.
func (s *scan) before(i int) (words [sooner]meaning, n int, labelled bool) {
	k, line := i, false
	for n < sooner {
		end := k
		for end > s.from && class[s.text[end-1]]&letter == 0 {
			if end--; i-end > near || class[s.text[end]]&digit != 0 {
				return words, n, labelled
			}
			labelled = labelled || n == 0 && s.text[end] == ':'
			line = line || s.text[end] == '\n'
		}
		if k = end; k == s.from || line && !labelled { // without a colon, the previous line's words do not count
			return words, n, labelled
		}
		for k > s.from && class[s.text[k-1]]&letter != 0 {
			if k--; i-k > near {
				return words, n, labelled
			}
		}
		words[n] = s.means(k, end)
		n++
	}
	return words, n, labelled
}

// named tells whether the words before i make a number an id: "order 4…".
func (s *scan) named(i int) bool {
	words, n, _ := s.before(i)
	for _, w := range words[:min(n, 3)] {
		if w&(wordID|wordCard) != 0 {
			return w&wordID != 0
		}
	}
	return false
}

// paying tells whether the words before i make a number a payment card: "my card is 3502…".
func (s *scan) paying(i int) bool {
	words, n, _ := s.before(i)
	for _, w := range words[:min(n, 3)] {
		if w&wordCard != 0 {
			return true
		}
		if w&(wordAt|wordNumber) == 0 {
			return false
		}
	}
	return false
}

// told is how strongly words say that digits are a phone number.
type told uint8

const (
	toldNothing told = iota
	toldMaybe        // if grouped, with at least seven digits
	toldSure         // if grouped, with at least six digits
	toldAny          // also ungrouped
)

// toldBefore evaluates the words before i.
func (s *scan) toldBefore(i int) (is told) {
	words, n, labelled := s.before(i)
	var all meaning
	others := 0 // words without a meaning, nearer to i
	for k, w := range words[:n] {
		plain := all&^(wordAt|wordNumber|wordPerson|wordSite) == 0 && others == 0
		switch {
		case w&wordID != 0:
			return is
		case w&wordLabel != 0 && plain:
			is = toldAny
		case w&wordLabel != 0 && k < 3, w&wordCall != 0 && plain:
			is = max(is, toldSure)
		case w&wordReach != 0 && words[0]&wordAt != 0 && others < 2:
			is = max(is, toldMaybe)
		case w&wordOwn != 0 && all&wordNumber != 0 && others == 0:
			is = max(is, toldSure)
		case w&wordSite != 0 && w&wordNumber == 0 && k == 0 && labelled:
			is = max(is, toldMaybe)
		}
		if all |= w; plain && all&wordCall != 0 && all&wordPerson != 0 {
			is = toldAny
		}
		if w == 0 {
			others++
		}
	}
	return is
}

// wordAfter returns the meaning of the word after end, and whether it ends the phrase: "96 228011 office".
func (s *scan) wordAfter(end int) (w meaning, last bool) {
	t := s.text
	k := end
	for k < len(t) && k < end+3 && class[t[k]]&(letter|digit) == 0 && t[k] != '\n' {
		k++
	}
	word := k
	for k < len(t) && k-word <= longestWord && class[t[k]]&letter != 0 {
		k++
	}
	w = s.means(word, k)
	for k < len(t) && (t[k] == ' ' || t[k] == '\t') {
		k++
	}
	return w, k >= len(t) || class[t[k]]&(letter|digit) == 0
}

// said returns the end of a number at i that the surrounding words call a phone number, or 0.
func (s *scan) said(i int, d number) int {
	for d.n > 15 {
		if !s.less(i, &d) {
			return 0
		}
	}
	if d.n < 6 || d.groups == 1 && (d.n < 7 || s.hint == HintID) || d.date() || d.loose() || s.decimals(i, &d) {
		return 0
	}
	end := s.extension(d.end)
	after, last := s.wordAfter(end)
	is := s.toldBefore(i)
	switch {
	case after&wordUnit != 0: // as in "a mobile sent 12 500 000 bytes"
		return 0
	case !last: // as in "12 500 000 mobile phones"
	case after&wordLabel != 0:
		is = toldAny
	case after&wordSite != 0:
		is = max(is, toldSure)
	}
	switch {
	case is == toldAny, is == toldSure && d.groups > 1, is == toldMaybe && d.groups > 1 && d.n >= 7:
		return d.end
	}
	return 0
}

// date tells whether the groups form a date: 2026-11-27, 27.11.2026, 27.11.26.
func (d *number) date() bool {
	if d.groups < 3 || d.size[0] > 2 && d.size[0] != 4 {
		return false
	}
	var part [3]int
	at := 0
	for g := range part {
		for range d.size[g] {
			part[g] = part[g]*10 + int(d.digits[at])
			at++
		}
	}
	day := func(a, b int) bool { return a <= 31 && b <= 12 || a <= 12 && b <= 31 }
	switch {
	case d.size[0] == 4:
		return d.size[1] == 2 && d.size[2] == 2 && part[0] >= 1900 && part[0] < 2100 && day(part[1], part[2])
	case d.size[1] > 2:
		return false
	case d.size[2] == 4:
		return part[2] >= 1900 && part[2] < 2100 && day(part[0], part[1])
	}
	return d.groups == 3 && d.n <= 6 && d.size[2] == 2 && (day(part[0], part[1]) || day(part[1], part[2]))
}

// loose tells whether it is a list of single digits: 1 2 3 4 5 6 7.
func (d *number) loose() bool {
	single := 0
	for _, size := range d.size[:d.groups] {
		if size == 1 {
			single++
		}
	}
	return single > 2
}

// decimals tells whether these are decimal fractions, such as 52.520 13.405. In a phone number, dots separate all
// groups or none.
func (s *scan) decimals(i int, d *number) bool {
	dots, others := 0, 0
	for k := i; k < d.end; k++ {
		switch c := s.text[k]; {
		case c == '.':
			dots++
		case separates(c) && c != '(' && c != ')' && s.text[k-1] != ')':
			others++
		}
	}
	return dots > 0 && (others > 0 || d.groups < 3)
}
