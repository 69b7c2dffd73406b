package eventlog

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// headerText writes a metadata value that is no string, as Bloblang's own
// conversion does.
func headerText(value any) (string, error) {
	switch v := value.(type) {
	case []byte:
		return string(v), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	case bool:
		return strconv.FormatBool(v), nil
	case nil:
		return "null", nil
	}
	text, err := json.Marshal(value)
	if err != nil {
		return "", fmt.Errorf("it has no text: %w", err)
	}
	return string(text), nil
}
