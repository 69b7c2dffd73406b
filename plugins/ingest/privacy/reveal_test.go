package privacy

import (
	"errors"
	"strings"
	"testing"
)

func TestReveal_TurnsBackWhatItsKeyAndFleetMade(t *testing.T) {
	const other = "k2:another-secret-of-16 k1:fedcba9876543210"
	w := walkerOf(t, "{ action: tokenise, keys: '"+testKeys+"' }") // of plant-1
	for _, value := range []string{"ann@example.com", "+49 151 12345678", "203.0.113.7", "4111 1111 1111 1111"} {
		token := strings.TrimSuffix(strings.TrimPrefix(masked(t, w, `{"t":"`+value+`"}`), `{"t":"`), `"}`)
		r, err := Reveal("k3:0000000000000000 "+testKeys, "plant-1", token)
		if err != nil || r.Value != value || r.Key != "k2" || !strings.HasPrefix(token, strings.TrimSuffix(r.Short, "…")) {
			t.Errorf("%s: %+v, %v", token, r, err)
		}
		last := "a"
		if strings.HasSuffix(token, "a") {
			last = "b"
		}
		for name, c := range map[string][3]string{
			"another fleet": {testKeys, "plant-2", token}, "another key": {other, "plant-1", token},
			"no such key":     {"k1:fedcba9876543210", "plant-1", token},
			"a changed token": {testKeys, "plant-1", token[:len(token)-1] + last},
			"another type":    {testKeys, "plant-1", strings.Replace(token, "tok-"+r.Type, "tok-name", 1)},
			"no keys":         {"", "plant-1", token}, "a cut token": {testKeys, "plant-1", token[:len(token)-2]},
		} {
			if r, err := Reveal(c[0], c[1], c[2]); err == nil || r.Value != "" || r.Short == "" ||
				strings.Contains(err.Error(), token) || errors.Is(err, ErrNoToken) {
				t.Errorf("%s: %+v, %v", name, r, err)
			}
		}
	}
	hashed := masked(t, walkerOf(t, "{ action: hash, keys: '"+testKeys+"' }"), "ann@example.com")
	for _, none := range []string{hashed, "", "tok-", "tok-email-k2-", "tok-email-k2-abc", "ann@example.com", "[email]",
		"tok-bogus-k2-" + strings.Repeat("ab", 20), "tok-email-k2-" + strings.Repeat("a", 33)} {
		if r, err := Reveal(testKeys, "plant-1", none); !errors.Is(err, ErrNoToken) || r != (Revealed{}) {
			t.Errorf("%q: %+v, %v", none, r, err)
		}
	}
}
