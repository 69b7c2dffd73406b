package spillway

import (
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/tests/integration/secured"
)

func TestSpillway_ASecuredLogIsReadByTheRightPasswordOnly(t *testing.T) {
	log := secured.Start(t)
	client := log.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	l := newLogOf(t, log.Fields("SCRAM-SHA-256", secured.Password), client, 1)
	l.add(0, 3, 3*time.Hour+50*time.Minute)
	l.commit("raw", 0, 1)
	l.commit("rollup", 0, 3)
	s := newSink()
	l.run(s, "")
	l.eventually("2 records", func() bool { r, _ := s.count(); return r == 2 })

	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256"} {
		parsed, err := inputSpec().ParseYAML(log.Fields(mechanism, secured.Wrong)+"groups: [ weir-raw ]",
			service.NewEnvironment())
		if err != nil {
			t.Fatal(err)
		}
		in, err := newInput(parsed, service.MockResources())
		if err != nil {
			t.Fatal(err)
		}
		if err := in.Connect(t.Context()); err == nil {
			t.Errorf("%s lets in by a wrong password", mechanism)
		} else {
			secured.Refused(t, err.Error())
		}
		if err := in.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
