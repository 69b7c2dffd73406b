package redisconn

import (
	"strings"
	"testing"
)

func TestRedisURL_IsReadAndNeverShown(t *testing.T) {
	for raw, want := range map[string]string{
		"redis://":                                 "localhost:6379",
		"redis://h/3":                              "h:6379",
		"redis://u:secret@h:1/3?pool_size=2":       "h:1",
		"rediss://:secret@[::1]:2?skip_verify=1":   "[::1]:2",
		"redis://h?pool_size=0":                    "h:6379",
		"redis://u:secret@h?read_timeout=3s":       "",
		"redis://u:secret@h/notanumber":            "",
		"redis://u:secret@h/1/2":                   "",
		"redis://u:secret@h?db=-1":                 "",
		"redis://u:secret@h?secret=1":              "",
		"redis:u:secret@h":                         "",
		"rediss://u:secret@h?skip_verify=secret":   "",
		"redis://u:secret@h?pool_size=secret":      "",
		"redis://u:secret@h?pool_size=%zz":         "",
		"redis://u:secret@h:secret/0?pool_size=10": "",
	} {
		addr, size, _, err := parse(raw)
		if addr != want || (err == nil) != (want != "") || (err == nil && size < 1) {
			t.Errorf("%s: %q, %v", raw, addr, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: shown in %v", raw, err)
		}
	}
}
