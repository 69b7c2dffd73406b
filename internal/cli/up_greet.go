package cli

import (
	"context"
	"fmt"
	"os"

	"weir/internal/control/apikey"
	"weir/internal/platform/sqldb"
)

// firstFleet is the tenant that a new data directory begins with.
const firstFleet = "default"

// firstKeys makes the first keys of a new data directory: the text of a fleet's
// key and of an admin key. It returns "" for both when there are keys already;
// a text is shown once and cannot be read back.
func (u *upRun) firstKeys(ctx context.Context) (fleet, admin string, err error) {
	db, err := sqldb.Open(ctx, u.data.ControlURL())
	if err != nil {
		return "", "", err
	}
	defer func() { _ = db.Close() }()
	store, err := apikey.Open(ctx, db)
	if err != nil {
		return "", "", err
	}
	keys, err := store.List(ctx, "")
	if err != nil || len(keys) > 0 {
		return "", "", err
	}
	made := keyStore{store, db}
	fleet, key, err := store.Create(ctx, firstFleet, apikey.Options{})
	if err = made.did(ctx, "up", key, err); err != nil {
		return "", "", err
	}
	admin, key, err = store.Create(ctx, "", apikey.Options{Admin: true})
	return fleet, admin, made.did(ctx, "up", key, err)
}

// greet tells the person who started weir where everything is.
func (u *upRun) greet(home, fleetKey, adminKey string) {
	a := u.addresses
	fmt.Fprintf(os.Stdout, `weir is starting on %s
  ingest   http://%s/v1/events
  queries  http://%s/v1/rollups
  health   http://%s/ready, metrics on /metrics
  broker   %s (embedded: one machine, one disk, not replicated)
  configs  %s
`, u.data, a.Ingest, a.API, a.Ops, a.Broker, home)
	if fleetKey == "" {
		fmt.Fprintf(os.Stdout, "\nIts keys were shown when they were made; for a new one: weir keys create --fleet %s --data %s\n\n", firstFleet, u.data)
		return
	}
	fmt.Fprintf(os.Stdout, `
Keys, shown this once:
  fleet %q  %s
  admin    %s

Post an event, then ask for it (it is there within seconds):

  curl -H "X-API-Key: %s" -H "Content-Type: application/json" http://%s/v1/events -d '{
    "event_id": "'$(cat /proc/sys/kernel/random/uuid)'", "device_id": "pump-1", "device_firmware_version": "2.1.0",
    "timestamp": "'$(date -u +%%FT%%TZ)'", "metrics": {"cpu_temp": 61.5, "battery_voltage": 3.7, "vibration": 0.2}}'

  curl -H "X-API-Key: %s" http://%s/v1/devices/pump-1/latest

`, firstFleet, fleetKey, adminKey, fleetKey, a.Ingest, fleetKey, a.API)
}
