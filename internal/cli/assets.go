package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// materialize writes the assets below dir, replacing those of an older weir,
// and returns nothing that the caller does not know: dir/configs, dir/schemas,
// dir/bloblang.
func materialize(assets fs.FS, dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("writing configs to %s: %w", dir, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("writing configs to %s: %w", dir, err)
	}
	if err := os.CopyFS(dir, assets); err != nil {
		return fmt.Errorf("writing configs to %s: %w", dir, err)
	}
	return nil
}

// home is the folder whose configs, schemas and bloblang a weir runs on: the
// one named, else the working directory when it has them, else the data
// directory, into which the assets are written.
func home(named string, data DataDir, assets fs.FS) (string, error) {
	if named != "" {
		return filepath.Abs(named)
	}
	if _, err := os.Stat(filepath.Join("configs", "streams", "ingest.yaml")); err == nil {
		return filepath.Abs(".")
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("looking for configs: %w", err)
	}
	dir := data.path("home")
	return dir, materialize(assets, dir)
}
