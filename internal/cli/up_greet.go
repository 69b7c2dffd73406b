package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/term"

	"weir/internal/control/apikey"
	"weir/internal/platform/sqldb"
)

// firstFleet is the fleet of a new data directory's first key.
const firstFleet = "default"

// withKeys opens the data directory's key store for use.
func (u *upRun) withKeys(ctx context.Context, use func(keyStore) error) error {
	db, err := sqldb.Open(ctx, u.data.controlURL())
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	store, err := apikey.Open(ctx, db)
	if err != nil {
		return err
	}
	return use(keyStore{store, db})
}

// keyless tells whether the data directory has no keys. It is called before anything listens, so that a key that
// somebody creates as soon as weir is ready does not prevent the first admin key.
func (u *upRun) keyless(ctx context.Context) (none bool, err error) {
	err = u.withKeys(ctx, func(keys keyStore) error {
		has, err := keys.List(ctx, "")
		none = err == nil && len(has) == 0
		return err
	})
	return none, err
}

// firstKeys creates the first keys of a new data directory, one for a fleet and one for an admin, and returns their
// texts, which cannot be read again.
func (u *upRun) firstKeys(ctx context.Context) (fleet, admin string, err error) {
	err = u.withKeys(ctx, func(keys keyStore) (err error) {
		var key apikey.Key
		fleet, key, err = keys.Create(ctx, firstFleet, apikey.Options{Scopes: []apikey.Scope{apikey.Ingest, apikey.Query}})
		if err = keys.did(ctx, "up", key, err); err != nil {
			return err
		}
		admin, key, err = keys.Create(ctx, "", apikey.Options{Admin: true})
		return keys.did(ctx, "up", key, err)
	})
	return fleet, admin, err
}

// shownKeys says how the first keys are shown: lines for the person, and a shell expression for the fleet's key. It
// is empty if there were keys before.
type shownKeys struct{ lines, shell string }

// showKeys shows the keys on a terminal. If the greeting goes elsewhere, such as to a log, it writes them to files
// that only this user can read.
func (u *upRun) showKeys(fleet, admin string, console *os.File) (shownKeys, error) {
	if term.IsTerminal(int(console.Fd())) {
		return shownKeys{fmt.Sprintf("Keys, shown this once:\n  fleet %q  %s  (may send and query)\n  admin            %s",
			firstFleet, fleet, admin), fleet}, nil
	}
	fleetFile, adminFile := u.data.path("first-fleet.key"), u.data.path("first-admin.key")
	for file, key := range map[string]string{fleetFile: fleet, adminFile: admin} {
		if err := writePrivate(file, key+"\n"); err != nil {
			return shownKeys{}, fmt.Errorf("keeping the first keys: %w", err)
		}
	}
	return shownKeys{
		fmt.Sprintf("Keys, in files that only this user reads; delete them when the keys are where they belong:\n  fleet "+
			"%q  %s  (may send and query)\n  admin            %s",
			firstFleet, fleetFile, adminFile),
		"$(cat '" + strings.ReplaceAll(fleetFile, "'", `'\''`) + "')",
	}, nil
}

// greet prints where everything is. Its last line says that weir is ready.
func (u *upRun) greet(home string, keys shownKeys, console io.Writer) {
	a, doors := u.addresses, u.outer()
	ingest, api := u.urlOf(doors[0]), u.urlOf(doors[1])
	fmt.Fprintf(console, `
  ingest   %s/v1/events
  queries  %s/v1/rollups
  console  %s/
  health   http://%s/ready, metrics on /metrics
  broker   %s (embedded: one machine, one disk, not replicated)
  configs  %s

`, ingest, api, api, a.Ops, a.Broker, home)
	if keys.shell == "" {
		fmt.Fprintf(console, "Its keys were shown when they were made; for a new one: weir keys create --fleet %s --data "+
			"%s\n\n", firstFleet, u.data)
	} else {
		fmt.Fprintf(console, `%s

Post an event, then ask for it (it is there within seconds):

  curl -H "X-API-Key: %s" -H "Content-Type: application/json" %s/v1/events -d '{
    "event_id": "%s", "device_id": "pump-1", "device_firmware_version": "2.1.0",
    "timestamp": "%s", "metrics": {"cpu_temp": 61.5, "battery_voltage": 3.7, "vibration": 0.2}}'

  curl -H "X-API-Key: %s" %s/v1/devices/pump-1/latest

`, keys.lines, keys.shell, ingest, uuid.NewString(), time.Now().UTC().Format(time.RFC3339), keys.shell, api)
	}
	fmt.Fprintf(console, "weir is ready. Stop it with Ctrl+C.\n")
}
