package text

import (
	"bytes"
	"encoding/json"
)

// JSON is a value as JSON that people can read: with <, > and & as they are,
// which are escaped for pages of HTML alone.
func JSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
