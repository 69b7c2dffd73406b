package schemadoc

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Pattern compiles an ECMA-262 regular expression (with flag u), as used in schemas, to one that matches the same
// texts in linear time. It rejects constructs without such an equivalent.
func Pattern(ecma string) (*regexp.Regexp, error) {
	p, err := translate(ecma)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", ecma, err)
	}
	re, err := regexp.Compile(p.text)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", ecma, err)
	}
	return re, nil
}

// translate writes an ECMA-262 pattern in the syntax of package regexp. It also accepts two things that the flag u
// forbids and whose meaning is clear: escaped punctuation, and an unmatched closing brace or bracket.
func translate(ecma string) (piece, error) {
	t := translator{in: ecma}
	p, err := t.alternatives()
	if err == nil && !t.end() {
		err = fmt.Errorf("a ) closes nothing")
	}
	return p, err
}

type translator struct {
	in    string
	at    int
	depth int
}

// piece is a translated part of a pattern.
type piece struct {
	text   string
	size   int // approximate number of program steps
	repeat int // product of nested counts, which regexp limits to repeatMax
}

const (
	repeatMax  = 1000   // limit of package regexp
	sizeMax    = 20_000 // steps of a whole pattern
	nestedMax  = 4_000  // steps of nested counts, which matching may cost for each character
	nestingMax = 200
)

func (t *translator) end() bool { return t.at >= len(t.in) }

func (t *translator) has(prefix string) bool { return strings.HasPrefix(t.in[t.at:], prefix) }

func (t *translator) take(prefix string) bool {
	if !t.has(prefix) {
		return false
	}
	t.at += len(prefix)
	return true
}

func (t *translator) next() rune {
	r, n := utf8.DecodeRuneInString(t.in[t.at:])
	t.at += n
	return r
}

func (t *translator) alternatives() (all piece, err error) {
	if t.depth++; t.depth > nestingMax {
		return all, fmt.Errorf("it nests more than %d groups", nestingMax)
	}
	defer func() { t.depth-- }()
	for {
		one, err := t.sequence()
		if err != nil {
			return all, err
		}
		if all = joined(all, one); all.size > sizeMax {
			return all, tooLarge()
		}
		if !t.take("|") {
			return all, nil
		}
		all.text += "|"
	}
}

func joined(a, b piece) piece {
	return piece{text: a.text + b.text, size: a.size + b.size, repeat: max(a.repeat, b.repeat)}
}

func (t *translator) sequence() (all piece, err error) {
	for !t.end() && !t.has("|") && !t.has(")") {
		atom, repeatable, err := t.atom()
		if err != nil {
			return all, err
		}
		least, most, counted, err := t.quantifier()
		switch {
		case err != nil:
			return all, err
		case counted && !repeatable:
			return all, fmt.Errorf("an assertion is repeated")
		case counted:
			if atom, err = repeated(atom, least, most); err != nil {
				return all, err
			}
		}
		if all = joined(all, atom); all.size > sizeMax {
			return all, tooLarge()
		}
	}
	return all, nil
}

func tooLarge() error {
	return fmt.Errorf("its counts multiply to more than %d steps, or %d where one is within another: take smaller "+
		"ones, or maxLength", sizeMax, nestedMax)
}

func (t *translator) atom() (p piece, repeatable bool, err error) {
	lone := func(text string) piece { return piece{text: text, size: 1, repeat: 1} }
	switch {
	case t.take("^"):
		return lone("^"), false, nil
	case t.take("$"):
		return lone("$"), false, nil
	case t.take(`\b`):
		return lone(`\b`), false, nil
	case t.take(`\B`):
		return lone(`\B`), false, nil
	case t.take("("):
		p, err = t.group()
		return p, true, err
	case t.take("."):
		return lone(`[^\n\r\x{2028}\x{2029}]`), true, nil
	case t.take("["):
		text, err := t.class()
		return lone(text), true, err
	case t.has(`\`):
		c, err := t.escape(false)
		if err != nil || c.set == "" {
			return lone(quoted(c.char)), true, err
		}
		return lone("[" + c.set + "]"), true, nil
	case t.has("*"), t.has("+"), t.has("?"):
		return p, false, fmt.Errorf("a %c repeats nothing", t.in[t.at])
	case t.has("{"):
		if _, _, counted, err := t.quantifier(); counted || err != nil {
			return p, false, fmt.Errorf("a count repeats nothing")
		}
	}
	return lone(quoted(t.next())), true, nil
}

func quoted(r rune) string { return fmt.Sprintf(`\x{%x}`, r) }

// group parses what follows an opening parenthesis. All groups become non-capturing.
func (t *translator) group() (piece, error) {
	for _, refused := range []struct{ prefix, name string }{
		{"?=", "lookahead"}, {"?!", "negative lookahead"}, {"?<=", "lookbehind"}, {"?<!", "negative lookbehind"},
	} {
		if t.has(refused.prefix) {
			return piece{}, fmt.Errorf("a %s (%s…) is not supported: it cannot be matched in linear time; say it with allOf, "+
				"or another pattern", refused.name, refused.prefix)
		}
	}
	switch {
	case t.take("?:"):
	case t.take("?<"):
		name, _, ok := strings.Cut(t.in[t.at:], ">")
		if !ok || name == "" || strings.ContainsAny(name, `()[]\ `) || digits(name[:1]) {
			return piece{}, fmt.Errorf("a group's name does not end")
		}
		t.at += len(name) + 1
	case t.has("?"):
		return piece{}, fmt.Errorf("(%s… is not of ECMA-262, which has no flags in patterns: write the cases out",
			t.in[t.at:min(t.at+2, len(t.in))])
	}
	p, err := t.alternatives()
	if err == nil && !t.take(")") {
		err = fmt.Errorf("a ( is not closed")
	}
	p.text = "(?:" + p.text + ")"
	p.repeat, p.size = max(p.repeat, 1), max(p.size, 1)
	return p, err
}

// quantifier parses a count if there is one. most is -1 when unbounded.
func (t *translator) quantifier() (least, most int, counted bool, err error) {
	switch {
	case t.take("*"):
		least, most = 0, -1
	case t.take("+"):
		least, most = 1, -1
	case t.take("?"):
		least, most = 0, 1
	case t.has("{"):
		inside, _, closed := strings.Cut(t.in[t.at+1:], "}")
		from, to, ranged := strings.Cut(inside, ",")
		if !closed || !digits(from) || to != "" && !digits(to) {
			return 0, 0, false, nil // a literal brace
		}
		t.at += len(inside) + 2
		least = count(from)
		switch {
		case !ranged:
			most = least
		case to == "":
			most = -1
		default:
			most = count(to)
		}
		if most >= 0 && most < least {
			return 0, 0, false, fmt.Errorf("{%s} is out of order", inside)
		}
	default:
		return 0, 0, false, nil
	}
	t.take("?") // laziness does not matter: only whether it matches
	return least, most, true, nil
}

func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// count parses a number. One too long for int is too large in any case.
func count(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return sizeMax + 1
	}
	return n
}

// repeated writes a piece least to most times. regexp allows counts up to repeatMax; larger ones are split so that
// few parts are active at each position and matching stays as cheap.
func repeated(p piece, least, most int) (piece, error) {
	times := max(least, most)
	if p.size*times > sizeMax || p.repeat > 1 && times > 1 && p.size*times > nestedMax {
		return p, tooLarge()
	}
	out := piece{size: p.size*max(times, 1) + 1, repeat: p.repeat * max(times, 1)}
	if out.repeat <= repeatMax {
		switch {
		case most < 0:
			out.text = fmt.Sprintf("%s{%d,}", p.text, least)
		default:
			out.text = fmt.Sprintf("%s{%d,%d}", p.text, least, most)
		}
		out.text = "(?:" + out.text + ")"
		return out, nil
	}
	step := max(1, repeatMax/p.repeat)
	if times/step > nestingMax {
		return p, tooLarge()
	}
	out.repeat, out.size = min(step*p.repeat, repeatMax), 2*out.size
	out.text = "(?:" + exactly(p.text, least, step)
	switch {
	case most < 0:
		out.text += p.text + "*"
	case most > least:
		out.text += upTo(p.text, most-least, step)
	}
	out.text += ")"
	return out, nil
}

func exactly(text string, n, step int) string {
	var b strings.Builder
	for ; n > 0; n -= step {
		fmt.Fprintf(&b, "%s{%d}", text, min(n, step))
	}
	return b.String()
}

func upTo(text string, n, step int) string {
	if n <= step {
		return fmt.Sprintf("%s{0,%d}", text, n)
	}
	return fmt.Sprintf("(?:%s{%d}%s|%s{0,%d})", text, step, upTo(text, n-step, step), text, step-1)
}
