package envyaml

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// resolve is what the engine would read: each scalar's own YAML in the text.
func resolve(t *testing.T, raw string, env map[string]string) string {
	t.Helper()
	c, err := Parse([]byte(raw))
	if err != nil {
		t.Fatalf("%v\n%s", err, raw)
	}
	lookup := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	return c.Text(func(n int) string {
		text, err := c.Scalars()[n].YAML(lookup)
		if err != nil {
			t.Fatal(err)
		}
		return text
	})
}

func read(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return v
}

func TestConfig_EachPlaceOfAVariable(t *testing.T) {
	env := map[string]string{
		"N": "42", "T": "true", "Z": "0123", "NULL": "null", "Q": `a"b\c`, "L": "[a, b]", "V6": "[::1]:8080", "EMPTY": "",
		"M": "one\ntwo: #x", "R": "${N} ${{N}} ${! this }", "B64": "YSJi",
	}
	for _, c := range []struct{ raw, want string }{
		{`a: ${N}`, `map[a:42]`},
		{`a: ${N} # ${N} ${UNSET}`, `map[a:42]`},
		{`a: "${N}"`, `map[a:"42"]`},
		{`a: '${N}'`, `map[a:"42"]`},
		{`a: ${T}`, `map[a:true]`},
		{`a: ${Z}`, `map[a:"0123"]`},
		{`a: ${NULL}`, `map[a:"null"]`},
		{`a: ${EMPTY}`, `map[a:""]`},
		{`a: ${EMPTY:x}`, `map[a:"x"]`},
		{`a: ${UNSET:}`, `map[a:<nil>]`},
		{`a: "${UNSET:}"`, `map[a:""]`},
		{`a: ${UNSET:[1, 2]}`, `map[a:[1 2]]`},
		{`a: ${UNSET:12}`, `map[a:12]`},
		{`a: "${UNSET:x\ty}"`, `map[a:"x\ty"]`},
		{`a: '${UNSET:it''s}'`, `map[a:"it's"]`},
		{`a: ${UNSET:${!json("x")}}`, `map[a:"${!json(\"x\")}"]`},
		{`a: ${V6}`, `map[a:"[::1]:8080"]`},
		{`a: http://${V6}/x`, `map[a:"http://[::1]:8080/x"]`},
		{`a: [${V6}, ${N}]`, `map[a:["[::1]:8080" 42]]`},
		{`a: {b: ${L}, c: "${Q}"}`, `map[a:map[b:"[a, b]" c:"a\"b\\c"]]`},
		{`a: ${Q}${N}`, `map[a:"a\"b\\c42"]`},
		{`a: ${N}${N}`, `map[a:4242]`},
		{`a: ${M}`, `map[a:"one\ntwo: #x"]`},
		{`a: ${R}`, `map[a:"${N} ${{N}} ${! this }"]`},
		{`a: ${B64|base64decode}`, `map[a:"a\"b"]`},
		{`a: ${UNSET:Yg==|base64decode}`, `map[a:"b"]`},
		{`a: ${! json("x") }`, `map[a:"${! json(\"x\") }"]`},
		{`a: x ${{N}} ${N}`, `map[a:"x ${N} 42"]`},
		{`${Q}: ${N}`, `map[a"b\c:42]`},
		{`a: from "${Q}/x.blobl"`, `map[a:"from \"a\\\"b\\\\c/x.blobl\""]`},
		{"a: |\n  root = \"${Q}\"\n  # ${N}\n\n  x\nb: ${N}", `map[a:"root = \"a\\\"b\\\\c\"\n# 42\n\nx\n" b:42]`},
		{"a:\n  - |\n    x ${N}\n  - b", `map[a:["x 42\n" "b"]]`},
		{"a: >-\n  one\n  ${N}\n\nb: 1", `map[a:"one 42" b:1]`},
		{"a: \"one\n  ${N}\"\nb: 1", `map[a:"one 42" b:1]`},
		{"a: one\n  ${N}\nb: 1", `map[a:"one 42" b:1]`},
		{"a: &x ${N}\nb: *x", `map[a:42 b:42]`},
		{"a: !!str ${N}", `map[a:"42"]`},
		{"ä: {ö: ${N}, ü: ${Q}}", `map[ä:map[ö:42 ü:"a\"b\\c"]]`},
		{"a: ${N}\r\nb: ${Q}\r\n", `map[a:42 b:"a\"b\\c"]`},
	} {
		if got := strings.ReplaceAll(show(read(t, resolve(t, c.raw, env))), "interface {}", "any"); got != c.want {
			t.Errorf("%s\nis %s\nwant %s", c.raw, got, c.want)
		}
	}
}

func show(v any) string {
	switch v := v.(type) {
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		for i := range keys { // few
			for j := i; j > 0 && keys[j] < keys[j-1]; j-- {
				keys[j], keys[j-1] = keys[j-1], keys[j]
			}
		}
		for i, k := range keys {
			keys[i] = k + ":" + show(v[k])
		}
		return "map[" + strings.Join(keys, " ") + "]"
	case []any:
		var all []string
		for _, e := range v {
			all = append(all, show(e))
		}
		return "[" + strings.Join(all, " ") + "]"
	case string:
		return fmt.Sprintf("%q", v)
	}
	return fmt.Sprint(v)
}

func TestConfig_LinesStayWhereTheyAre(t *testing.T) {
	raw := "# ${A}\na: |\n  x\n  ${A}\n\n  y\n\n# here\nb: \"1\n  ${A}\" # there\nc: 1\n"
	got := resolve(t, raw, map[string]string{"A": "1\n2\n3"})
	line := func(text, part string) int { return strings.Count(text[:strings.Index(text, part)], "\n") }
	for _, part := range []string{"# here", "# there", "c: 1"} {
		if line(raw, part) != line(got, part) {
			t.Errorf("%q moved:\n%s", part, got)
		}
	}
}

func TestConfig_AnyValueArrivesAsItIs(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	places := []string{"a: ${V}", `a: "${V}"`, `a: '${V}'`, "a: |-\n  ${V}", "a: [x, ${V}]", "a: {b: ${V}}", "${V}: a",
		"a: x${V}y", "- ${V} # ${V}", `a: "x ${V:d}"`}
	for range 20_000 {
		value := Value(random)
		place := places[random.IntN(len(places))]
		got := read(t, resolve(t, place, map[string]string{"V": value}))
		want := value
		switch {
		case strings.Contains(place, "x${V}y"):
			want = "x" + value + "y"
		case strings.Contains(place, "x ${V:d}"):
			want = "x " + value
			if value == "" {
				want = "x d"
			}
		}
		if text := leaf(got, place); text != want && !(typed(value) && fmt.Sprint(read(t, value)) == text) {
			t.Fatalf("%s with %q is %q", place, value, text)
		}
	}
}

// leaf finds the value in what was read.
func leaf(v any, place string) string {
	switch v := v.(type) {
	case map[string]any:
		for k, child := range v {
			if strings.HasPrefix(place, "$") {
				return k
			}
			return leaf(child, place)
		}
	case map[any]any:
		for k := range v {
			return fmt.Sprint(k)
		}
	case []any:
		return leaf(v[len(v)-1], place)
	}
	return fmt.Sprint(v)
}

func TestConfig_ErrorsNameTheVariableAndNotItsValue(t *testing.T) {
	lookup := func(string) (string, bool) { return "s3cret!", true }
	for raw, part := range map[string]string{"a: ${X|base64decode}": "X", "a: ${X|other}": "no function other"} {
		c, err := Parse([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Scalars()[0].YAML(lookup)
		if err == nil || !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", raw, err)
		}
	}
	if _, err := Parse([]byte("a: [${X}\nb: }")); err == nil || strings.Contains(err.Error(), "WEIRVAR") {
		t.Errorf("not YAML: %v", err)
	}
}
