package alert

import (
	"fmt"
	"os"
	"strings"
)

// secret returns a setting that may be kept in a file: "file:///run/secrets/x"
// is the content of that file, read each time so that it can be rotated.
func secret(setting string) (string, error) {
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
