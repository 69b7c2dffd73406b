package replay

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kfake"

	"weir/tests/integration/secured"
)

func TestReplay_ASecuredLogIsWatchedByTheRightPasswordOnly(t *testing.T) {
	log := secured.Start(t, kfake.SeedTopics(1, "raw-events", "replay-events"))
	produce(t, log.Client(t), "raw-events", 3)
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-512"} {
		for _, password := range []string{secured.Password, secured.Wrong} {
			if mechanism == "PLAIN" && password == secured.Wrong {
				continue // once is enough: it is waited for
			}
			parsed, err := inputSpec().ParseYAML(log.Fields(mechanism, password)+
				"control: sqlite://x\nraw: mem://\ndead_letter: mem://\nrollups: sqlite://x", service.NewEnvironment())
			if err != nil {
				t.Fatal(err)
			}
			in, err := newInput(parsed, service.MockResources(), sources{})
			if err != nil {
				t.Fatal(err)
			}
			var said strings.Builder // read when the watcher has stopped
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			w, err := startWatcher(ctx, in.cluster, in.consumers, in.live, in.topic, func() bool { return true }, in.yield,
				service.NewLoggerFromSlog(slog.New(slog.NewTextHandler(&said, nil))))
			if err != nil {
				t.Fatal(err)
			}
			end, err := w.look(ctx, true)
			if password == secured.Wrong { // the watcher itself is to say it
				time.Sleep(watchMost + 500*time.Millisecond)
			}
			cancel()
			w.close()
			switch {
			case password == secured.Wrong && err == nil:
				t.Errorf("%s lets in by a wrong password", mechanism)
			case password == secured.Wrong:
				secured.Refused(t, said.String())
			case err != nil || end != 3:
				t.Errorf("%s: the log ends at %d: %v", mechanism, end, err)
			}
			secured.Silent(t, said.String())
		}
	}
}
