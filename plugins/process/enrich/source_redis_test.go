package enrich

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/google/uuid"

	"weir/internal/platform/redisconn"
	"weir/tests/integration/require"
)

// A value is the answer, one that is not there none; what is no JSON, and a value of
// another kind, are failures that tell nothing of the key.
func TestRedis_AValueIsTheAnswer(t *testing.T) {
	conns, err := redisconn.Open(require.Env(t, "WEIR_TEST_REDIS_URL"), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conns.Close() }()
	own := "weir:enrich:" + uuid.NewString() + ":"
	set := [][]any{{"SET", own + "json", `{"plan":"gold"}`, "EX", 60}, {"SET", own + "text", "gold", "EX", 60},
		{"SET", own + "null", "null", "EX", 60}, {"HSET", own + "hash", "plan", "gold", "since", "2020"},
		{"EXPIRE", own + "hash", 60}, {"SET", own + "long", `"` + strings.Repeat("x", answerMost) + `"`, "EX", 60}}
	if _, err := conns.Pipeline(t.Context(), len(set), func(c redis.Conn) error {
		var err error
		for _, words := range set {
			err = errors.Join(err, c.Send(words[0].(string), words[1:]...))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		hash      bool
		key, want string
		says      string
	}{
		{false, "json", `{"plan":"gold"}`, ""}, {false, "null", "none", ""}, {false, "nobody", "none", ""},
		{false, "text", "", "the answer is no JSON"}, {false, "long", "", "at most"},
		{false, "hash", "", "it refuses the question (WRONGTYPE)"},
		{true, "hash", `{"plan":"gold","since":"2020"}`, ""}, {true, "nobody", "none", ""},
		{true, "json", "", "it refuses the question (WRONGTYPE)"},
	} {
		is, err := ofRedis(conns, c.hash)(t.Context(), own+c.key)
		got := string(is.raw)
		if is.absent && err == nil {
			got = "none"
		}
		if got != c.want || (err != nil) != (c.says != "") || err != nil && !strings.Contains(told(err), c.says) {
			t.Errorf("%s, hash %t: %s, %v", c.key, c.hash, got, err)
		}
		if err != nil && strings.Contains(fmt.Sprint(told(err)), own) {
			t.Errorf("%s: the key is in %v", c.key, err)
		}
	}
}

func TestRedis_AServerThatIsAwayIsAFailure(t *testing.T) {
	conns, err := redisconn.Open("redis://127.0.0.1:1", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conns.Close() }()
	is, err := ofRedis(conns, false)(t.Context(), "u-77")
	if err == nil || is.absent || strings.Contains(told(err), "u-77") {
		t.Errorf("%+v, %v", is, err)
	}
	if _, err := fields([]any{}); err != nil {
		t.Error(err)
	}
	if is, err := fields([]any{[]byte("a"), []byte(`"`)}); err != nil || !json.Valid(is.raw) {
		t.Errorf("%s, %v", is.raw, err)
	}
}
