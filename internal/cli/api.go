package cli

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"weir/internal/control/apikey"
	"weir/internal/control/auditlog"
	"weir/internal/platform/httpx"
	"weir/internal/platform/sqldb"
)

// adminKeyLife ends the key that a command makes for itself, should it not live
// to end it.
const adminKeyLife = 24 * time.Hour

// adminAPI finds the api of a command, by its flags api and key: by URL, or that
// of the weir that runs on the data directory, whose control store gives a key
// for as long as the command runs.
func adminAPI(c *cli.Context, verb string) (httpx.API, func(), error) {
	if url := c.String("api"); url != "" {
		if c.String("key") == "" {
			return httpx.API{}, nil, usagef("with --api, give an admin key: --key KEY, or WEIR_API_KEY")
		}
		if !strings.Contains(url, "://") {
			url = "http://" + url
		}
		return httpx.API{URL: url, Key: c.String("key")}, func() {}, nil
	}
	dir, err := weirDir(c)
	if err != nil {
		return httpx.API{}, nil, err
	}
	running, runs, err := dir.running()
	if err != nil {
		return httpx.API{}, nil, err
	}
	if !runs {
		return httpx.API{}, nil, usagef("no weir runs on %s: start it with 'weir up --data %s', or name another with --api", dir, c.String(flagData))
	}
	db, err := sqldb.Open(c.Context, dir.ControlURL())
	if err != nil {
		return httpx.API{}, nil, err
	}
	keys, err := apikey.Open(c.Context, db)
	if err == nil {
		var text string
		var key apikey.Key
		text, key, err = keys.Create(c.Context, "", apikey.Options{Admin: true, Name: "weir " + verb, ExpiresAt: time.Now().Add(adminKeyLife)})
		// Says who is behind the key that acts.
		if err = recorded(c.Context, db, verb, map[string]any{"id": key.ID, "reason": auditlog.Text(c.String("reason"))}, err); err == nil {
			return httpx.API{URL: "http://" + reachable(running.API), Key: text}, func() {
				if err := keys.Revoke(context.WithoutCancel(c.Context), key.ID); err != nil {
					_, _ = fmt.Fprintf(c.App.ErrWriter, "%v; it ends by itself within %s\n", err, adminKeyLife)
				}
				_ = db.Close() // every change is committed before
			}, nil
		}
	}
	_ = db.Close() // nothing was changed
	return httpx.API{}, nil, err
}

// reachable is an address to connect to, for one to listen on.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return addr
}
