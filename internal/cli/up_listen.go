package cli

import (
	"cmp"
	"crypto/tls"
	"os"

	"github.com/urfave/cli/v2"

	"weir/internal/platform/listen"
)

const (
	flagCert  = "tls-cert"
	flagKey   = "tls-key"
	flagPlain = "allow-plain-http"
)

// doors says how the public listeners of `up` are secured: by one certificate for both, by certificates in the
// environment for each, or not at all where that is explicitly allowed.
type doors struct {
	cert, key string
	plain     bool
}

func doorFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: flagCert, Usage: "PEM `FILE` with a certificate, for TLS at --ingest and --api"},
		&cli.StringFlag{Name: flagKey, Usage: "PEM `FILE` with its private key"},
		&cli.BoolFlag{Name: flagPlain, Usage: "listen without TLS on addresses that others reach, where keys can be read " +
			"on the way"},
	}
}

// door is a public listener: its flag, address, and the prefix of its variables.
type door struct{ flag, address, env string }

func (u *upRun) outer() []door {
	return []door{{"ingest", u.addresses.Ingest, "WEIR_INGEST"}, {"api", u.addresses.API, "WEIR_API"}}
}

// checkDoors rejects listeners that would send keys over the network without TLS, unless that is allowed.
func (u *upRun) checkDoors() error {
	if (u.doors.cert == "") != (u.doors.key == "") {
		return usagef("--%s and --%s go together", flagCert, flagKey)
	}
	if !listen.Loopback(u.addresses.Broker) {
		return usagef("--broker %s is not of loopback: the embedded broker serves this machine alone; for others run Kafka "+
			"and configs/cluster.env", u.addresses.Broker)
	}
	for _, d := range u.outer() {
		plain := u.doors.plain || os.Getenv(d.env+"_PLAIN_HTTP") == "true"
		if u.certOf(d) == "" && !plain && !listen.Loopback(d.address) {
			return usagef("--%s %s would show keys to the network, without TLS: give --%s and --%s, "+
				"or say --%s where something in front ends TLS", d.flag, d.address, flagCert, flagKey, flagPlain)
		}
	}
	return nil
}

// checkCertificates rejects certificates that the listeners could not load, since the streams would otherwise retry
// forever after the greeting.
func (u *upRun) checkCertificates() error {
	for _, d := range u.outer() {
		cert := u.certOf(d)
		if cert == "" {
			continue
		}
		key := cmp.Or(u.doors.key, os.Getenv(d.env+"_TLS_KEY"))
		if _, err := tls.LoadX509KeyPair(cert, key); err != nil {
			return usagef("loading the certificate of --%s: %w; see --%s and --%s", d.flag, err, flagCert, flagKey)
		}
	}
	return nil
}

// certOf returns the certificate file of a listener, "" for plain HTTP.
func (u *upRun) certOf(d door) string { return cmp.Or(u.doors.cert, os.Getenv(d.env+"_TLS_CERT")) }

// doorEnv returns the variables that the flags set for the streams.
func (u *upRun) doorEnv() map[string]string {
	env := map[string]string{}
	for _, d := range u.outer() {
		if u.doors.cert != "" {
			env[d.env+"_TLS_CERT"], env[d.env+"_TLS_KEY"] = u.doors.cert, u.doors.key
		}
		if u.doors.plain {
			env[d.env+"_PLAIN_HTTP"] = "true"
		}
	}
	return env
}

// urlOf returns the URL of a listener.
func (u *upRun) urlOf(d door) string {
	if u.certOf(d) != "" {
		return "https://" + d.address
	}
	return "http://" + d.address
}
