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

// doors is how the listeners of `up` that strangers may reach are secured: by a
// certificate for both, by those that the environment names for each, or, where
// that is allowed by name, not at all.
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

// door is one of those listeners: its flag, and what begins its variables.
type door struct{ flag, address, env string }

func (u *upRun) outer() []door {
	return []door{{"ingest", u.addresses.Ingest, "WEIR_INGEST"}, {"api", u.addresses.API, "WEIR_API"}}
}

// checkDoors refuses to show keys to the network unless that is asked for.
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

// checkCertificates refuses certificates that the listeners could not load: the
// streams would try again for ever, behind a greeting.
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

// certOf returns the certificate of a listener, "" for plain HTTP.
func (u *upRun) certOf(d door) string { return cmp.Or(u.doors.cert, os.Getenv(d.env+"_TLS_CERT")) }

// doorEnv is what the flags say to the streams; the rest is the environment's.
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

// urlOf is how a listener is reached.
func (u *upRun) urlOf(d door) string {
	if u.certOf(d) != "" {
		return "https://" + d.address
	}
	return "http://" + d.address
}
