package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"weir/internal/control/apikey"
	"weir/internal/platform/httpx"
	"weir/internal/platform/sqldb"
	"weir/internal/platform/storeurl"
	"weir/plugins/store/lake"
)

const (
	flagStore = "store"
	flagForce = "force"

	envControl = "WEIR_CONTROL_URL"
)

func storeFlag() cli.Flag {
	return &cli.StringFlag{Name: flagStore, Usage: "the control store, as sqlite://PATH or postgres://…; " +
		"without it, the one in the data directory, or of WEIR_CONTROL_URL when neither is given"}
}

func forceFlag() cli.Flag {
	return &cli.BoolFlag{Name: flagForce, Usage: "also for a fleet that never had a key"}
}

// weirDir returns the data directory of a command. It must already contain a weir's control store, since only `up`
// creates one.
func weirDir(c *cli.Context) (DataDir, error) {
	dir, err := dataDir(c)
	if err != nil {
		return "", err
	}
	_, err = os.Stat(dir.path("control.db"))
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return "", usagef("no weir in %s: expected its control.db there; name its directory with --data, "+
			"or start one with 'weir up --data %s'", dir, c.String(flagData))
	case err != nil:
		return "", fmt.Errorf("looking for a weir in %s: %w", dir, err)
	}
	return dir, nil
}

// controlURL returns the control store of a command: --store, else that of the data directory, or WEIR_CONTROL_URL
// when no directory is named. A local store must exist.
func controlURL(c *cli.Context) (string, error) {
	at := c.String(flagStore)
	if at == "" && !c.IsSet(flagData) {
		at = os.Getenv(envControl)
	}
	if at == "" {
		dir, err := weirDir(c)
		return dir.controlURL(), err
	}
	return at, storeIsThere(at)
}

// storeIsThere rejects a local store that does not exist, because opening it would create an empty one.
func storeIsThere(at string) error {
	if scheme, _, _ := strings.Cut(at, "://"); scheme != "sqlite" && scheme != "file" {
		return nil // servers report that themselves
	}
	path, err := storeurl.Path(at)
	if err != nil {
		return usagef("reading the URL of the store: %w", err)
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return usagef("there is no store %s: check the path", at)
	} else if err != nil {
		return fmt.Errorf("looking for the store: %w", err)
	}
	return nil
}

// openControl opens the control store of a command with open, for reading or writing.
func openControl(c *cli.Context, open func(context.Context, string) (*sqldb.DB, error)) (*sqldb.DB, error) {
	at, err := controlURL(c)
	if err != nil {
		return nil, err
	}
	return open(c.Context, at)
}

// openToRead opens an object store for reading: the one of a flag, which must exist, else that of the data directory,
// which may be missing until something is stored.
func openToRead(c *cli.Context, name string, in func(DataDir) string) (*lake.Store, error) {
	at := c.String(name)
	if at == "" {
		dir, err := weirDir(c)
		if err != nil {
			return nil, err
		}
		return lake.OpenReading(c.Context, in(dir))
	}
	if err := storeIsThere(at); err != nil {
		return nil, err
	}
	return lake.OpenReading(c.Context, at)
}

// running returns where the weir of the directory listens, and whether one runs there now.
func (d DataDir) running() (running, bool, error) {
	f, err := os.Open(d.path("lock"))
	if errors.Is(err, fs.ErrNotExist) {
		return running{}, false, nil
	} else if err != nil {
		return running{}, false, fmt.Errorf("looking whether a weir runs on %s: %w", d, err)
	}
	defer func() { _ = f.Close() }() // releases the lock
	switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); {
	case err == nil:
		return running{}, false, nil
	case !errors.Is(err, syscall.EWOULDBLOCK):
		return running{}, false, fmt.Errorf("looking whether a weir runs on %s: %w", d, err)
	}
	r, err := d.readRunning()
	return r, true, err
}

// knownFleet requires --force for a fleet that never had a key: nobody can have sent its events, so its name is
// probably mistyped.
func knownFleet(c *cli.Context, fleet string, keysOf func(context.Context, string) (int, error)) error {
	if fleet == "" || c.Bool(flagForce) {
		return nil
	}
	n, err := keysOf(c.Context, fleet)
	if err != nil {
		return err
	}
	if n == 0 {
		return usagef("nobody has a key of fleet %q: check the name ('weir keys list'), or say --%s", fleet, flagForce)
	}
	return nil
}

// keysIn counts the keys of a fleet in the control store, including revoked and expired ones.
func keysIn(db *sqldb.DB) func(context.Context, string) (int, error) {
	return func(ctx context.Context, fleet string) (int, error) {
		store, err := apikey.Open(ctx, db)
		if err != nil {
			return 0, err
		}
		keys, err := store.List(ctx, fleet)
		return len(keys), err
	}
}

// keysAt counts the keys of a fleet over the API, including revoked and expired ones.
func keysAt(api httpx.API) func(context.Context, string) (int, error) {
	return func(ctx context.Context, fleet string) (int, error) {
		var answer struct{ Keys []struct{ ID string } }
		err := api.Call(ctx, http.MethodGet, "/v1/keys?fleet="+url.QueryEscape(fleet), nil, &answer)
		return len(answer.Keys), err
	}
}
