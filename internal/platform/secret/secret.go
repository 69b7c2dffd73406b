// Package secret resolves settings that may be kept outside of a config.
package secret

import (
	"fmt"
	"os"
	"strings"
)

// Value returns a setting that may be kept in a file: "file:///run/secrets/x"
// is the content of that file without the white space around it, read each time
// so that it can be rotated. Any other setting is its own value. The error names
// the file, never what is in it.
func Value(setting string) (string, error) {
	path, ok := strings.CutPrefix(setting, "file://")
	if !ok {
		return setting, nil
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("reading a secret: %w", err)
	}
	return strings.TrimSpace(string(raw)), nil
}
