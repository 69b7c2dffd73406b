package live

import (
	"bytes"
	"context"
	"fmt"
	"os"
)

// File follows a file: the value is what build returns for its content, until the content changes. An unreadable or
// invalid file leaves the value unchanged. what names the file's content in read errors.
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
