package envyaml

import "testing"

func TestParseEnv_ValuesAreWhatIsWritten(t *testing.T) {
	for line, want := range map[string]string{
		`A=b`: "b", `A = b `: "b", `A=`: "", `A=a#b`: "a#b", `A=a b`: "a b", `A=a # c`: "a", `A=#c`: "",
		`A='a # "b\'`: `a # "b\`,
		`A="a\"b\n"`:  "a\"b\n", `A="x" # c`: "x", `export A=b=c`: "b=c", `A=it's`: "it's",
	} {
		got, err := ParseEnv([]byte("# x\n\n" + line + "\r\n"))
		if err != nil || len(got) != 1 || got[0] != (Assignment{"A", want, 3}) {
			t.Errorf("%s: %+v, %v", line, got, err)
		}
	}
	for _, line := range []string{"A", "=b", `A="b`, `A='b`, `A="b" c`, "A B=c"} {
		if got, err := ParseEnv([]byte(line)); err == nil {
			t.Errorf("%s: %+v", line, got)
		}
	}
}
