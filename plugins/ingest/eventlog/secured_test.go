package eventlog

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/tests/integration/secured"
)

func TestEventLog_ASecuredLogIsWrittenToByTheRightPasswordOnly(t *testing.T) {
	log := secured.Start(t, kfake.SeedTopics(1, "raw-events"))
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256"} {
		for _, password := range []string{secured.Password, secured.Wrong} {
			var said strings.Builder
			conf := parse(t, "topic: raw-events\nlinger: 0s\n"+log.Fields(mechanism, password))
			conf.log = service.NewLoggerFromSlog(slog.New(slog.NewTextHandler(&said, nil)))
			out := newOutput(conf)
			err := out.Connect(t.Context())
			if password == secured.Wrong {
				if err == nil {
					t.Fatalf("%s lets in by a wrong password", mechanism)
				}
				secured.Refused(t, err.Error())
			} else if err == nil {
				err = out.WriteBatch(t.Context(), service.MessageBatch{healthy("d-1", mechanism)})
				if err != nil {
					t.Error(err)
				}
			} else {
				t.Errorf("%s: %v", mechanism, err)
			}
			if err := out.Close(context.Background()); err != nil {
				t.Error(err)
			}
			secured.Silent(t, said.String())
		}
	}
	client := log.Client(t, kgo.ConsumeTopics("raw-events"))
	got := ""
	for len(got) < len("PLAINSCRAM-SHA-256") {
		fetches := client.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) { got += string(r.Value) })
	}
	if got != "PLAINSCRAM-SHA-256" {
		t.Errorf("the log has %q", got)
	}
}
