package envyaml

import (
	"math/rand/v2"
	"strings"
)

// Value makes a value that YAML, Bloblang or the engine could take for their own.
func Value(random *rand.Rand) string {
	words := []string{
		"true", "false", "0123", "null", "~", "1e5", "12", "-3.5", "0x1F", ".inf", "yes", "2026-11-27", "", " ", "\t", "\n",
		"\r\n", "a", "ß", "日本", "\u2028", "\u0085", "\x01", "\ufeff", "😀",
		`"`, "'", `\`, `\n`, `\x`, "[", "]", "{", "}", "#", " #", ": ", ":", "- ", ",", "&x", "*x", "!!str", "|", ">", "%",
		"@", "`", "=", "<<", "---", "...", "${X}", "${V}", "${{V}}", "${! this }", "$", "WEIRVAR0END",
	}
	var out strings.Builder
	for range random.IntN(5) {
		out.WriteString(words[random.IntN(len(words))])
	}
	return out.String()
}
