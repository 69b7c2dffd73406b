package event

import (
	"fmt"
	"strings"

	"weir/internal/platform/rawjson"
)

// WayTo parses a JSON pointer into the field names on its path.
func WayTo(pointer string) ([]string, error) {
	if !strings.HasPrefix(pointer, "/") || pointer == "/" {
		return nil, fmt.Errorf("%q: expected a JSON pointer such as /device_id or /user/id", pointer)
	}
	way := strings.Split(pointer[1:], "/")
	for i := range way {
		way[i] = strings.ReplaceAll(strings.ReplaceAll(way[i], "~1", "/"), "~0", "~")
	}
	return way, nil
}

// TextAt returns the string or number at a path, or "". The result may alias the event's bytes.
func (e *Event) TextAt(way []string) string {
	if len(way) == 1 {
		switch way[0] {
		case FieldDevice:
			return e.Device
		case FieldID:
			return e.ID
		}
	}
	for i := range e.Extra {
		if f := &e.Extra[i]; f.Name == way[0] {
			return within(f.Raw, way[1:])
		}
	}
	return ""
}

func within(raw []byte, way []string) (found string) {
	i := rawjson.Space(raw, 0)
	if i >= len(raw) {
		return ""
	}
	if len(way) > 0 {
		if raw[i] != '{' {
			return ""
		}
		// It was parsed before, so there is no error.
		_, _ = rawjson.Object(raw, i, 1, func(key []byte, plain bool, i int) (int, error) {
			end, err := rawjson.Value(raw, i, 2)
			if err == nil && rawjson.Text(key, plain) == way[0] {
				found = within(raw[i:end], way[1:])
			}
			return end, err
		})
		return found
	}
	switch c := raw[i]; {
	case c == '"':
		end, plain, err := rawjson.String(raw, i)
		if err != nil {
			return ""
		}
		return rawjson.Text(raw[i+1:end-1], plain)
	case c == '-' || c >= '0' && c <= '9':
		end, err := rawjson.Number(raw, i)
		if err != nil {
			return ""
		}
		return string(raw[i:end])
	}
	return ""
}
