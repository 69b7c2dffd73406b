package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"weir/internal/platform/broker"
)

// up is `weir up`: it runs all of weir in one process on one data directory.
func up(assets fs.FS, engine Engine) *cli.Command {
	return &cli.Command{
		Name:  "up",
		Usage: "Run all of weir here: broker, streams and API in one process, on one data directory",
		Description: `
The broker is embedded: one machine, one disk, durable across crashes, not
replicated. The stream configs are those of ./configs when there are any, else
the ones built into this binary.

  weir up
  weir up --data /var/lib/weir --ingest 0.0.0.0:8443 --tls-cert weir.pem --tls-key weir.key`[1:],
		Flags: append([]cli.Flag{
			dataFlag(),
			&cli.StringFlag{Name: "ingest", Value: "127.0.0.1:8080", Usage: "`ADDR` that devices post to"},
			&cli.StringFlag{Name: "api", Value: "127.0.0.1:8090", Usage: "`ADDR` of queries and administration"},
			&cli.StringFlag{Name: "ops", Value: "127.0.0.1:4195", Usage: "`ADDR` of the engine's health and metrics"},
			&cli.StringFlag{Name: "broker", Value: "127.0.0.1:9092", Usage: "`ADDR` of the embedded broker; loopback only"},
			&cli.StringFlag{Name: "home", Usage: "`DIR` with configs, schemas and bloblang"},
		}, doorFlags()...),
		Action: func(c *cli.Context) error {
			data, err := dataDir(c)
			if err != nil {
				return err
			}
			u := &upRun{data: data, assets: assets, engine: engine, addresses: running{
				PID: os.Getpid(), Ingest: c.String("ingest"), API: c.String("api"),
				Ops: c.String("ops"), Broker: c.String("broker"),
			}, doors: doors{cert: c.String(flagCert), key: c.String(flagKey), plain: c.Bool(flagPlain)}}
			if err := errors.Join(checkHome(c.String("home")), u.checkDoors()); err != nil {
				return err
			}
			if err := u.checkCertificates(); err != nil {
				return err
			}
			if cert := u.certOf(u.outer()[1]); cert != "" {
				if u.addresses.APICert, err = filepath.Abs(cert); err != nil {
					return fmt.Errorf("finding the certificate: %w", err)
				}
			}
			return u.run(c.Context, c.String("home"))
		},
	}
}

type upRun struct {
	data      DataDir
	assets    fs.FS
	engine    Engine
	addresses running
	doors     doors
}

func (u *upRun) run(ctx context.Context, named string) error {
	if err := apart(u.listeners()); err != nil {
		return err
	}
	unlock, err := u.data.lock()
	if err != nil {
		return err
	}
	defer unlock()
	foreign, err := u.data.close()
	if err != nil {
		return err
	}
	if len(foreign) > 0 {
		fmt.Fprintf(os.Stderr, "%d files belong to other users, who may let anybody read them, such as %q: give them to "+
			"the user that runs weir\n",
			len(foreign), foreign[0])
	}
	if err := u.takePorts(); err != nil {
		return err
	}
	if err := u.checkLog(); err != nil {
		return err
	}
	home, notes, err := home(named, u.data, u.assets)
	if err != nil {
		return err
	}
	for _, note := range append(notes, u.overridden(home)...) {
		fmt.Fprintln(os.Stderr, "warning: "+note)
	}
	password, err := u.data.keepPassword()
	if err != nil {
		return err
	}
	if err := u.setEnv(home, broker.Login(password)); err != nil {
		return err
	}
	if err := u.checkConfigs(ctx, home); err != nil {
		return err
	}
	log, err := broker.Start(broker.Config{
		Dir: u.data.brokerDir(), Address: u.addresses.Broker, Password: password,
		Topics: broker.Also(broker.Topics(), os.Getenv(envRulesTopics)),
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	defer log.Close()
	u.addresses.Broker = log.Address()

	if err := u.setEnv(home, broker.Login(password)); err != nil {
		return err
	}
	if err := u.writeRunning(); err != nil {
		return err
	}
	return u.serve(ctx, home)
}

// takePorts reports a port in use before anything is started, and replaces port 0 by a free port, which the greeting,
// the streams and the commands then know.
func (u *upRun) takePorts() (err error) {
	var open []net.Listener // keep all open, so that no two get the same port
	defer func() {
		for _, l := range open {
			err = errors.Join(err, l.Close())
		}
	}()
	for _, p := range u.listeners() {
		l, err := net.Listen("tcp", *p.addr)
		if err != nil {
			return fmt.Errorf("listening on %s: %w; choose another address with --%s", *p.addr, err, p.flag)
		}
		open = append(open, l)
		host, _, err := net.SplitHostPort(*p.addr)
		if err != nil {
			return fmt.Errorf("listening on %s: %w", *p.addr, err)
		}
		_, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			return fmt.Errorf("listening on %s: %w", *p.addr, err)
		}
		*p.addr = net.JoinHostPort(host, port)
	}
	return nil
}

// listener is an address to listen on, with its flag.
type listener struct {
	flag string
	addr *string
}

func (u *upRun) listeners() []listener {
	a := &u.addresses
	return []listener{{"ingest", &a.Ingest}, {"api", &a.API}, {"ops", &a.Ops}, {"broker", &a.Broker}}
}

// apart rejects invalid addresses, and two listeners on one port.
func apart(listeners []listener) error {
	hosts, ports := make([]string, len(listeners)), make([]string, len(listeners))
	for i, l := range listeners {
		host, port, err := net.SplitHostPort(*l.addr)
		if err == nil {
			_, err = net.LookupPort("tcp", port)
		}
		if err != nil {
			return usagef("reading --%s: %w; expected HOST:PORT", l.flag, err)
		}
		if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
			host = "" // all addresses
		}
		for j := range i {
			if port == ports[j] && port != "0" && (host == hosts[j] || host == "" || hosts[j] == "") {
				return usagef("--%s and --%s are both on port %s: give each one of its own", listeners[j].flag, l.flag, port)
			}
		}
		hosts[i], ports[i] = host, port
	}
	return nil
}

// checkLog refuses to start a new log beside a raw store with events of an older log, because its offsets would start
// again and collide with the stored ones.
func (u *upRun) checkLog() error {
	has, err := broker.HasLog(u.data.brokerDir())
	if err != nil || has {
		return err
	}
	entries, err := os.ReadDir(u.data.path("raw"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("looking for stored events: %w", err)
	}
	if slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return strings.HasPrefix(e.Name(), "date=") }) {
		return fmt.Errorf("data directory %s has stored events but no log: %s is gone or was moved; "+
			"put it back, or start on another directory with --data and keep this one for reading", u.data, u.data.brokerDir())
	}
	return nil
}

func (u *upRun) writeRunning() error {
	raw, err := json.MarshalIndent(u.addresses, "", "  ")
	if err != nil {
		return err
	}
	if err := writePrivate(u.data.runningFile(), string(raw)+"\n"); err != nil {
		return fmt.Errorf("writing where weir listens: %w", err)
	}
	return nil
}
