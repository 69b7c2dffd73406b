package json_test

import (
	"testing"

	"github.com/goccy/go-json"
)

func TestJSON_IsThatOfGo(t *testing.T) {
	if out, err := json.Marshal(map[string]any{"b": 1, "a": nil}); err != nil || string(out) != `{"a":null,"b":1}` {
		t.Errorf("%s %v", out, err)
	}
}
