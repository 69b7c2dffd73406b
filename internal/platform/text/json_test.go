package text

import "testing"

func TestJSON_IsForPeople(t *testing.T) {
	raw, err := JSON(map[string]string{"message": "expected a number <= 95 & > 0"})
	if err != nil || string(raw) != `{"message":"expected a number <= 95 & > 0"}` {
		t.Errorf("%s %v", raw, err)
	}
	if _, err := JSON(func() {}); err == nil {
		t.Error("a func was written")
	}
}
