package cli

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"weir/internal/platform/envyaml"
	"weir/internal/platform/kafka"
)

// setEnv sets the variables of the stream configs: first what this run decides (locations and addresses), then the
// environment, then the profile.
func (u *upRun) setEnv(home string, login kafka.Login) error {
	for k, v := range u.decided(home, login) {
		if err := os.Setenv(k, v); err != nil {
			return err
		}
	}
	profile, err := readEnvFile(filepath.Join(home, "configs", "standalone.env"))
	if err != nil {
		return err
	}
	profile["WEIR_SCHEMAS_URL"] = u.data.controlURL() // unless the environment names others
	profile["WEIR_SCHEMAS_CACHE"] = u.data.schemasDir()
	for k, v := range profile {
		if _, set := os.LookupEnv(k); !set {
			if err := os.Setenv(k, v); err != nil {
				return err
			}
		}
	}
	return nil
}

// overridden lists the variables of the environment that this run ignores, because its flags decide.
func (u *upRun) overridden(home string) (notes []string) {
	by := map[string]string{kafka.EnvBrokers: "--broker", "WEIR_INGEST_ADDRESS": "--ingest", "WEIR_API_ADDRESS": "--api",
		"WEIR_OPS_ADDRESS":   "--ops",
		"WEIR_ANOMALY_RULES": "--home", "WEIR_RULES": "--home",
		"WEIR_BLOBLANG": "--home"}
	for name, value := range u.decided(home, kafka.Login{}) {
		set := os.Getenv(name)
		if set == "" || set == value || name == "WEIR_DATA" {
			continue
		}
		why := "a flag decides"
		switch {
		case by[name] != "":
			why = by[name] + " decides"
		case strings.HasPrefix(name, "WEIR_KAFKA_"):
			why = "weir up has its log inside"
		case strings.HasSuffix(name, "_URL"):
			why = "weir up keeps everything in the data directory, which --data decides"
		}
		notes = append(notes, fmt.Sprintf("%s is set, and not gone by: %s", name, why))
	}
	slices.Sort(notes)
	return notes
}

// decided returns the variables that this run decides.
func (u *upRun) decided(home string, login kafka.Login) map[string]string {
	decided := map[string]string{
		"WEIR_DATA":            string(u.data),
		kafka.EnvBrokers:       u.addresses.Broker,
		kafka.EnvTLS:           "false", // the embedded broker is in this process
		kafka.EnvCA:            "",
		kafka.EnvSASL:          login.Mechanism,
		kafka.EnvUser:          login.User,
		kafka.EnvPassword:      login.Password,
		envPasswordFile:        u.data.passwordFile(),
		"WEIR_INGEST_ADDRESS":  u.addresses.Ingest,
		"WEIR_API_ADDRESS":     u.addresses.API,
		"WEIR_OPS_ADDRESS":     u.addresses.Ops,
		"WEIR_RAW_URL":         u.data.rawURL(),
		"WEIR_DEAD_LETTER_URL": u.data.deadLetterURL(),
		"WEIR_ROLLUP_URL":      u.data.rollupURL(),
		"WEIR_ROLLUP_OLD_URL":  u.data.oldRollupURL(),
		"WEIR_CONTROL_URL":     u.data.controlURL(),
		"WEIR_CLAIMS_URL":      u.data.claimsURL(),

		"WEIR_USER_RAW_URL":         u.data.userRawURL(),
		"WEIR_USER_DEAD_LETTER_URL": u.data.userDeadLetterURL(),
		"WEIR_USER_CLAIMS_URL":      u.data.userClaimsURL(),

		"WEIR_ANOMALY_RULES": filepath.Join(home, "configs", "anomaly.yaml"),
		"WEIR_RULES":         filepath.Join(home, "configs", "rules.yaml"),
		"WEIR_BLOBLANG":      filepath.Join(home, "bloblang"),
	}
	maps.Copy(decided, u.doorEnv())
	return decided
}

// readEnvFile reads an env file like the flag -e.
func readEnvFile(path string) (map[string]string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the profile: %w", err)
	}
	assignments, err := envyaml.ParseEnv(raw)
	if err != nil {
		return nil, fmt.Errorf("reading the profile %s: %w", path, err)
	}
	values := map[string]string{}
	for _, a := range assignments {
		values[a.Name] = a.Value
	}
	return values, nil
}
