package httpx

import (
	"errors"
	"strings"
	"testing"
)

func TestPlain_HoldsNoLogin(t *testing.T) {
	for text, want := range map[string]string{
		"opening postgres://weir:s3cret@db/weir: refused":     "opening postgres://…@db/weir: refused",
		`Get "https://a:b@c@h:1/x": EOF, amqp://u@h`:          `Get "https://…@h:1/x": EOF, amqp://…@h`,
		"reading https://h/path?of=me@home: no such host":     "reading https://h/path?of=me@home: no such host",
		strings.Repeat("é", causeMost):                        strings.Repeat("é", causeMost/2) + "…",
		"no table: SQLSTATE 42P01 (see x@y), https://h: away": "no table: SQLSTATE 42P01 (see x@y), https://h: away",
	} {
		if got := Plain(errors.New(text)); got != want {
			t.Errorf("%q became %q, not %q", text, got, want)
		}
	}
}
