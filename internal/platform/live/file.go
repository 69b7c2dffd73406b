package live

import (
	"bytes"
	"context"
	"fmt"
	"os"
)

// File follows a file: what build makes of it is the value, until the file
// changes. One that cannot be read or is wrong leaves the value as it is. An error
// of reading names what the file holds.
func File[T any](path, what string, build func([]byte) (*T, error)) *Value[[]byte, T] {
	return New(Source[[]byte, T]{
		Load: func(context.Context) ([]byte, error) {
			raw, err := os.ReadFile(path)
			if err != nil {
				return nil, fmt.Errorf("reading %s: %w", what, err)
			}
			return raw, nil
		},
		Same:  bytes.Equal,
		Build: build,
	})
}
