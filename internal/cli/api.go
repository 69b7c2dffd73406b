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

// adminKeyLife is the expiry of the key that a command creates for itself, in case the command cannot revoke it.
const adminKeyLife = 24 * time.Hour

// adminAPI returns the API of a command's flags: that of the flag api with the flag key, or that of the weir that
// runs on the data directory, with a temporary admin key from its control store. The caller must call the returned
// function, which revokes that key.
func adminAPI(c *cli.Context, verb string) (httpx.API, func(), error) {
	if url := c.String("api"); url != "" {
		if c.String("key") == "" {
			return httpx.API{}, nil, usagef("with --api, give an admin key: --key KEY, or WEIR_API_KEY")
		}
		if !strings.Contains(url, "://") {
			url = "http://" + url
		}
		at := httpx.API{URL: url, Key: c.String("key")}
		if ca := c.String("ca"); ca != "" {
			var err error
			if at.Client, err = httpx.Trusting(ca); err != nil {
				return httpx.API{}, nil, usagef("%w", err)
			}
		}
		return at, func() {}, nil
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
		return httpx.API{}, nil, usagef("no weir runs on %s: start it with 'weir up --data %s', or name another with --api",
			dir, c.String(flagData))
	}
	at, err := running.api()
	if err != nil {
		return httpx.API{}, nil, err
	}
	db, err := sqldb.Open(c.Context, dir.controlURL())
	if err != nil {
		return httpx.API{}, nil, err
	}
	keys, err := apikey.Open(c.Context, db)
	if err == nil {
		var text string
		var key apikey.Key
		text, key, err = keys.Create(c.Context, "", apikey.Options{Admin: true, Name: "weir " + verb,
			ExpiresAt: time.Now().Add(adminKeyLife)})
		// The entry says who is behind the key.
		if err = recorded(c.Context, db, verb, map[string]any{"id": key.ID, "reason": auditlog.Text(c.String("reason"))},
			err); err == nil {
			at.Key = text
			return at, func() {
				if err := keys.Revoke(context.WithoutCancel(c.Context), key.ID); err != nil {
					_, _ = fmt.Fprintf(c.App.ErrWriter, "%v; it ends by itself within %s\n", err, adminKeyLife)
				}
				_ = db.Close() // every change is committed
			}, nil
		}
	}
	_ = db.Close() // nothing was changed
	return httpx.API{}, nil, err
}

// api returns the API of a weir on this machine, without a key.
func (r running) api() (httpx.API, error) {
	at := httpx.API{URL: "http://" + reachable(r.API)}
	if r.APICert == "" {
		return at, nil
	}
	at.URL = "https://" + reachable(r.API)
	var err error
	at.Client, err = httpx.Pinned(r.APICert)
	return at, err
}

// apiFlags are the flags that select an API instead of a data directory or a store.
func apiFlags(instead string) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "api", EnvVars: []string{"WEIR_API_URL"}, Usage: "`URL` of the api, instead of a " + instead},
		&cli.StringFlag{Name: "key", EnvVars: []string{"WEIR_API_KEY"}, Usage: "an admin `KEY`, with --api"},
		&cli.StringFlag{Name: "ca", EnvVars: []string{"WEIR_API_CA"},
			Usage: "PEM `FILE` with the CA of an api over https, with --api; without it, those of the system"},
	}
}

// reachable returns an address to connect to for an address that is listened on.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return addr
}
