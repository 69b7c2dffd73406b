package listen

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service/securetls"
)

// TLS names the files of a listener's certificate.
type TLS struct {
	cert, key, clientCA string
	clients             tls.ClientAuthType
}

// certificates holds the certificate files as last read. They are reread when they change; while they cannot be read,
// the last good ones stay in use. Open connections keep theirs.
type certificates struct {
	conf  TLS
	watch Watch

	mu      sync.Mutex
	current *tls.Config
	stamp   [3]fileStamp
	looked  time.Time
}

type fileStamp struct {
	mod  time.Time
	size int64
}

// lookEvery is the minimum interval between checks of the files.
const lookEvery = time.Second

func loadCertificates(conf TLS, watch Watch) (*certificates, error) {
	c := &certificates{conf: conf, watch: watch, stamp: conf.stamp(), looked: time.Now()}
	var err error
	if c.current, err = conf.load(); err != nil {
		return nil, err
	}
	return c, nil
}

// server returns the listener's TLS config, which uses the current certificates for every handshake.
func (c *certificates) server() *tls.Config {
	base := securetls.NewConfig(securetls.SecurityLevelNormal)
	base.NextProtos = []string{"h2", "http/1.1"}
	base.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.get(), nil }
	return base
}

func (c *certificates) get() *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if now.Sub(c.looked) < lookEvery {
		return c.current
	}
	c.looked = now
	stamp := c.conf.stamp()
	if stamp == c.stamp {
		return c.current
	}
	next, err := c.conf.load()
	if err != nil { // perhaps between the writes of the two files: the stamp stays, so it is retried
		c.watch.NotReloaded()
		c.watch.Log.Warnf("the last good certificate stays in use: %v", err)
		return c.current
	}
	c.current, c.stamp = next, stamp
	c.watch.Log.Infof("the certificate was loaded again")
	return c.current
}

func (t TLS) stamp() (s [3]fileStamp) {
	for i, name := range []string{t.cert, t.key, t.clientCA} {
		if info, err := os.Stat(name); err == nil {
			s[i] = fileStamp{info.ModTime(), info.Size()}
		}
	}
	return s
}

func (t TLS) load() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(t.cert, t.key)
	if err != nil {
		return nil, fmt.Errorf("loading the certificate: %w", err)
	}
	conf := securetls.NewConfig(securetls.SecurityLevelNormal)
	conf.NextProtos = []string{"h2", "http/1.1"}
	conf.Certificates = []tls.Certificate{pair}
	conf.ClientAuth = t.clients
	if t.clientCA != "" {
		pem, err := os.ReadFile(t.clientCA)
		if err != nil {
			return nil, fmt.Errorf("loading the clients' CA: %w", err)
		}
		conf.ClientCAs = x509.NewCertPool()
		if !conf.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("loading the clients' CA: the file holds no PEM certificate")
		}
	}
	return conf, nil
}
