package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// home returns the folder with the configs, schemas and bloblang to run: the named one, else the working directory if
// it has configs, else one in the data directory, where the assets are written at the first start. The notes say what
// happened to files that somebody changed there.
func home(named string, data DataDir, assets fs.FS) (dir string, notes []string, err error) {
	if named != "" {
		dir, err = filepath.Abs(named)
		return dir, nil, err
	}
	if _, err := os.Stat(filepath.Join("configs", "streams", "ingest.yaml")); err == nil {
		dir, err = filepath.Abs(".")
		return dir, nil, err
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", nil, fmt.Errorf("looking for configs: %w", err)
	}
	dir = data.path("home")
	if notes, err = layOut(assets, dir); err != nil {
		err = fmt.Errorf("laying configs out in %s: %w", dir, err)
	}
	return dir, notes, err
}

// checkHome rejects a named folder without configs.
func checkHome(named string) error {
	if named == "" {
		return nil
	}
	profile := filepath.Join(named, "configs", "standalone.env")
	_, _, err := streamConfigs(named)
	if err == nil {
		_, err = os.Stat(profile)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return usagef("reading --home: %s is no home of a weir: expected configs/streams and configs/standalone.env there; "+
			"without --home weir lays them out in its data directory", named)
	}
	return err
}
