package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/redpanda-data/benthos/v4/public/service"
	"gopkg.in/yaml.v3"

	"weir/internal/platform/conf"
	"weir/internal/platform/envyaml"
	"weir/internal/platform/httpx"
)

// ops serves the engine's HTTP handler at http.address: health, metrics, and the paths of streams without an address
// of their own. The engine's own listener sends no request ids, reports ready until the process is gone, and only
// logs that its address is taken, so that probes would ask another process. So the engine is told not to listen.
type ops struct {
	server  *http.Server
	made    atomic.Bool // the engine has created all streams
	leaving atomic.Bool // a signal has requested the end
	forget  func()
}

// opsHeader is the timeout for reading a request's header.
const opsHeader = 10 * time.Second

// serveOps returns the flags and options with which the engine's handler is served here, and a function that stops
// it; none if the config wants no listener.
func serveOps(ctx context.Context, wanted bool) (_ context.Context, flags []string, opts []service.CLIOptFunc,
	end func()) {
	if !wanted {
		return ctx, nil, nil, func() {}
	}
	o := &ops{}
	ctx = whenStarted(ctx, func() { o.made.Store(true) })
	listen := service.CLIOptOnConfigParse(func(main *service.ParsedConfig) error { return o.listen(ctx, main) })
	return ctx, []string{"--set", "http.enabled=false"}, []service.CLIOptFunc{listen}, o.end
}

// wantsOps tells whether the main config and --set flags leave the listener enabled, which is the default.
func wantsOps(config *envyaml.Config, values envyaml.Lookup, flags []string) bool {
	wants := true
	if config != nil {
		var said struct {
			HTTP struct {
				Enabled *bool `yaml:"enabled"`
			} `yaml:"http"`
		}
		text := config.Text(func(n int) string {
			s, _ := config.Scalars()[n].YAML(values) // it was checked
			return s
		})
		if yaml.Unmarshal([]byte(text), &said) == nil && said.HTTP.Enabled != nil {
			wants = *said.HTTP.Enabled
		}
	}
	for _, flag := range flags {
		if said, is := strings.CutPrefix(flag, "http.enabled="); is {
			if on, err := strconv.ParseBool(said); err == nil {
				wants = on
			}
		}
	}
	return wants
}

// listen serves the engine's handler. It is called when the engine has created the handler, but no streams.
func (o *ops) listen(ctx context.Context, main *service.ParsedConfig) error {
	var address, root, cert, key string
	if err := conf.Read(main.Namespace("http"), "address", &address, "root_path", &root, "cert_file", &cert,
		"key_file", &key); err != nil {
		return err
	}
	handler, err := handlerOf(main.Resources())
	if err != nil {
		return err
	}
	o.server = &http.Server{Handler: o.handler(root, handler), ReadHeaderTimeout: opsHeader}
	if cert != "" { // otherwise a wrong certificate would only be logged
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return fmt.Errorf("loading the certificate of health and metrics: %w; see http.cert_file and http.key_file", err)
		}
		o.server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listening for health and metrics: %w; WEIR_OPS_ADDRESS or http.address name another address", err)
	}
	told, forget := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	o.forget = forget
	context.AfterFunc(told, func() { o.leaving.Store(true) })
	log := main.Resources().Logger()
	log.Infof("health and metrics are at %s", listener.Addr())
	go func() {
		serve := func() error { return o.server.Serve(listener) }
		if cert != "" {
			serve = func() error { return o.server.ServeTLS(listener, "", "") }
		}
		if err := serve(); !errors.Is(err, http.ErrServerClosed) {
			log.Errorf("serving health and metrics has ended: %v", err)
		}
	}()
	return nil
}

// handler adds a request id to each answer of the engine, and answers /ready with 503 until all streams are created
// and after a signal.
func (o *ops) handler(root string, engine http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		httpx.Identify(w, r)
		if r.URL.Path == "/ready" || r.URL.Path == root+"/ready" {
			why := ""
			switch {
			case o.leaving.Load():
				why = "the process was told to end"
			case !o.made.Load():
				why = "streams are being made"
			}
			if why != "" {
				w.WriteHeader(http.StatusServiceUnavailable)
				_, _ = fmt.Fprintln(w, why) // an error means that the client is gone
				return
			}
		}
		engine.ServeHTTP(w, r)
	})
}

// end closes the listener and its connections; the engine has ended by then.
func (o *ops) end() {
	if o.forget != nil {
		o.forget()
	}
	if o.server != nil {
		_ = o.server.Close()
	}
}

// handlerOf returns the engine's handler, which its manager keeps in a private field. With a version of the engine
// that lacks the field, weir does not start.
func handlerOf(res *service.Resources) (http.Handler, error) {
	unwrap := reflect.ValueOf(res.XUnwrapper()).MethodByName("Unwrap")
	if unwrap.IsValid() {
		manager := unwrap.Call(nil)[0].Elem()
		if manager.Kind() == reflect.Pointer && manager.Elem().Kind() == reflect.Struct {
			if f := manager.Elem().FieldByName("apiReg"); f.IsValid() && f.CanAddr() {
				api := reflect.NewAt(f.Type(), unsafe.Pointer(f.UnsafeAddr())).Elem().Interface()
				if has, is := api.(interface{ Handler() http.Handler }); is {
					return has.Handler(), nil
				}
			}
		}
	}
	return nil, errors.New("this version of the engine keeps the handler of its health and metrics elsewhere")
}
