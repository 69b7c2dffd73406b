package cli

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"weir/internal/platform/kafka"
)

// setEnv gives the stream configs their values: what this run decides (where
// things lie and listen), then the environment as it is, then the profile.
func (u *upRun) setEnv(home string, login kafka.Login) error {
	decided := map[string]string{
		"WEIR_DATA":            string(u.data),
		"WEIR_BROKERS":         u.addresses.Broker,
		"WEIR_KAFKA_TLS":       "false", // the embedded broker is in this process
		"WEIR_KAFKA_CA":        "",
		"WEIR_KAFKA_SASL":      login.Mechanism,
		"WEIR_KAFKA_USER":      login.User,
		envPassword:            login.Password,
		envPasswordFile:        u.data.passwordFile(),
		"WEIR_INGEST_ADDRESS":  u.addresses.Ingest,
		"WEIR_API_ADDRESS":     u.addresses.API,
		"WEIR_OPS_ADDRESS":     u.addresses.Ops,
		"WEIR_RAW_URL":         u.data.RawURL(),
		"WEIR_DEAD_LETTER_URL": u.data.DeadLetterURL(),
		"WEIR_ROLLUP_URL":      u.data.RollupURL(),
		"WEIR_CONTROL_URL":     u.data.ControlURL(),
		"WEIR_CLAIMS_URL":      u.data.ClaimsURL(),
		"WEIR_ANOMALY_RULES":   filepath.Join(home, "configs", "anomaly.yaml"),
		"WEIR_BLOBLANG":        filepath.Join(home, "bloblang"),
	}
	maps.Copy(decided, u.doorEnv())
	for k, v := range decided {
		if err := os.Setenv(k, v); err != nil {
			return err
		}
	}
	profile, err := readEnvFile(filepath.Join(home, "configs", "standalone.env"))
	if err != nil {
		return err
	}
	profile["WEIR_SCHEMAS_URL"] = u.data.ControlURL() // of this data directory, unless the environment names others
	profile["WEIR_SCHEMAS_CACHE"] = u.data.SchemasDir()
	for k, v := range profile {
		if _, set := os.LookupEnv(k); !set {
			if err := os.Setenv(k, v); err != nil {
				return err
			}
		}
	}
	return nil
}

// readEnvFile reads NAME=VALUE lines, as the engine's -e flag does.
func readEnvFile(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the profile: %w", err)
	}
	defer f.Close()
	values := map[string]string{}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			return nil, fmt.Errorf("reading the profile %s, line %d: expected NAME=VALUE", path, n)
		}
		values[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading the profile %s: %w", path, err)
	}
	return values, nil
}
