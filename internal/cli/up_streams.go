package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"
)

// streamConfigs returns the shared config and the stream configs of a home.
func streamConfigs(home string) (shared string, streams []string, err error) {
	dir := filepath.Join(home, "configs", "streams")
	entries, err := os.ReadDir(dir)
	for _, entry := range entries {
		if filepath.Ext(entry.Name()) == ".yaml" {
			streams = append(streams, filepath.Join(dir, entry.Name()))
		}
	}
	if err != nil || len(streams) == 0 {
		return "", nil, fmt.Errorf("finding stream configs in %s: none there (%w)", dir, errors.Join(err, fs.ErrNotExist))
	}
	return filepath.Join(home, "configs", "service.yaml"), streams, nil
}

// checkConfigs checks the configs before anything is started.
func (u *upRun) checkConfigs(ctx context.Context, home string) error {
	shared, streams, err := streamConfigs(home)
	if err != nil {
		return err
	}
	_, err = u.engine(ctx, append([]string{"weir", "lint", "--as-it-is", shared}, streams...))
	if finding := (findingError{}); errors.As(err, &finding) {
		err = finding.error // not a finding here, but a failed start
	}
	if err != nil {
		return fmt.Errorf("checking %s: %w; nothing was started", home, err)
	}
	return nil
}

// runStreams runs the streams, with changes of their files applied, and returns when the engine has drained after
// SIGINT or SIGTERM.
func (u *upRun) runStreams(ctx context.Context, home string) error {
	shared, streams, err := streamConfigs(home)
	if err != nil {
		return err
	}
	ctx = context.WithValue(ctx, roleKey{}, "up")
	code, err := u.engine(ctx, []string{"weir", "streams", "-w", "-o", shared, filepath.Dir(streams[0])})
	if err != nil {
		return fmt.Errorf("running the streams: %w", err)
	}
	if code != 0 {
		return cli.Exit("", code)
	}
	return nil
}
