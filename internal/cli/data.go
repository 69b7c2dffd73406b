// Package cli holds the commands that weir adds to the engine's, one command per file. A command reads flags and
// prints results; the work is done by other packages.
package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"weir/internal/platform/storeurl"
)

// DataDir is the folder of a standalone weir with all of its persistent data.
type DataDir string

const flagData = "data"

func dataFlag() cli.Flag {
	return &cli.StringFlag{
		Name: flagData, Value: "data", EnvVars: []string{"WEIR_DATA"},
		Usage: "the standalone data `DIR`; may belong to a running 'weir up'",
	}
}

// dataDir returns the data directory of a command. It also restricts the permissions of files that the process
// creates from then on to its user.
func dataDir(c *cli.Context) (DataDir, error) {
	keepPrivate()
	dir, err := filepath.Abs(c.String(flagData))
	if err != nil {
		return "", fmt.Errorf("finding the data directory: %w", err)
	}
	return DataDir(dir), nil
}

func (d DataDir) path(name string) string { return filepath.Join(string(d), name) }

// controlURL is the SQL store of keys, schemas, jobs, alerts, groups and other administration.
func (d DataDir) controlURL() string { return storeurl.New("sqlite", d.path("control.db")) }

// rollupURL is the SQL store of rollups.
func (d DataDir) rollupURL() string { return storeurl.New("sqlite", d.path("rollups.db")) }

// oldRollupURL is the object store of old minutes.
func (d DataDir) oldRollupURL() string { return storeurl.New("file", d.path("rollups")) }

// rawURL is the object store of raw events.
func (d DataDir) rawURL() string { return storeurl.New("file", d.path("raw")) }

// deadLetterURL is the object store of dead letters.
func (d DataDir) deadLetterURL() string { return storeurl.New("file", d.path("dead-letter")) }

// userRawURL is the object store of events about people, if they are kept apart.
func (d DataDir) userRawURL() string { return storeurl.New("file", d.path("user-raw")) }

// userDeadLetterURL is the object store of dead letters of events about people.
func (d DataDir) userDeadLetterURL() string { return storeurl.New("file", d.path("user-dead-letter")) }

// userClaimsURL is the dedupe store of events about people.
func (d DataDir) userClaimsURL() string { return storeurl.New("pebble", d.path("user-claims")) }

// claimsURL is the dedupe store.
func (d DataDir) claimsURL() string { return storeurl.New("pebble", d.path("claims")) }

// schemasDir caches the last known schemas.
func (d DataDir) schemasDir() string { return d.path("schemas") }

// brokerDir holds the log of the embedded broker.
func (d DataDir) brokerDir() string { return d.path("broker") }

// running says where a 'weir up' on a data directory listens.
type running struct {
	PID    int    `json:"pid"`
	Ingest string `json:"ingest"`
	API    string `json:"api"`
	// APICert is the certificate file of the API, "" for plain HTTP.
	APICert string `json:"api_cert,omitempty"`
	Ops     string `json:"ops"`
	Broker  string `json:"broker"`
}

func (d DataDir) runningFile() string { return d.path("up.json") }

// readRunning returns the addresses of the 'weir up' that runs, or last ran, on the directory. It does not check
// which.
func (d DataDir) readRunning() (running, error) {
	var r running
	raw, err := os.ReadFile(d.runningFile())
	if err != nil {
		return r, fmt.Errorf("reading where weir runs on %s: %w (start it with 'weir up --data %s')", d, err, d)
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		return r, fmt.Errorf("reading %s: %w", d.runningFile(), err)
	}
	return r, nil
}
