package gate

import (
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kfake"

	"weir/plugins/ingest/gate/admission"
	"weir/tests/integration/secured"
)

// said collects what is logged.
type said struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *said) Write(raw []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(raw)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func TestGate_TheBacklogOfASecuredLogIsMeasuredByTheRightPasswordOnly(t *testing.T) {
	log := secured.Start(t, kfake.SeedTopics(2, "raw-events"))
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-512"} {
		for _, password := range []string{secured.Password, secured.Wrong} {
			fields := strings.ReplaceAll("\n"+strings.TrimSpace(log.Fields(mechanism, password)), "\n", "\n  ")
			parsed, err := inputSpec().ParseYAML("keys: sqlite://x\nbackpressure:\n  interval: 20ms"+fields,
				service.NewEnvironment())
			if err != nil {
				t.Fatal(err)
			}
			conf, err := configFromParsed(parsed)
			if err != nil {
				t.Fatal(err)
			}
			logged, measured := &said{}, make(chan admission.Backlog, 1)
			res := service.MockResources()
			mon, err := admission.StartMonitor(*conf.pressure, func(b admission.Backlog) {
				select {
				case measured <- b:
				default:
				}
			}, service.NewLoggerFromSlog(slog.New(slog.NewTextHandler(logged, nil))), res.Metrics())
			if err != nil {
				t.Fatal(err)
			}
			warned := func() bool { return strings.Contains(logged.String(), "cannot be measured") }
			for deadline := time.Now().Add(20 * time.Second); len(measured) == 0 && !warned() && time.Now().Before(deadline); {
				time.Sleep(10 * time.Millisecond)
			}
			mon.Close()
			if got, want := len(measured) > 0, password == secured.Password; got != want {
				t.Errorf("%s: measured %t, want %t: %s", mechanism, got, want, logged)
			}
			if password == secured.Wrong {
				secured.Refused(t, logged.String())
			}
			secured.Silent(t, logged.String())
		}
	}
}
