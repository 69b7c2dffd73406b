package reconcile

import (
	"strings"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kfake"

	"weir/tests/integration/secured"
)

func TestReconcile_ASecuredLogIsReconciledByTheRightPasswordOnly(t *testing.T) {
	log := secured.Start(t, kfake.SeedTopics(1, "raw-events", "replay-events", "dead-letter"))
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256"} {
		for _, password := range []string{secured.Password, secured.Wrong} {
			conf := log.Fields(mechanism, password) + "raw: file://" + t.TempDir() + "\ndead_letter: file://" + t.TempDir()
			parsed, err := inputSpec().ParseYAML(conf, service.NewEnvironment())
			if err != nil {
				t.Fatal(err)
			}
			in, err := newInput(parsed, service.MockResources())
			if err != nil {
				t.Fatal(err)
			}
			if err := in.Connect(t.Context()); err != nil {
				t.Fatal(err)
			}
			report, err := in.reconciler.Run(t.Context(), Options{})
			switch {
			case password == secured.Wrong && err == nil:
				t.Errorf("%s lets in by a wrong password", mechanism)
			case password == secured.Wrong:
				secured.Refused(t, err.Error())
			case err != nil || report.Loss() || len(report.Partitions) != 3:
				t.Errorf("%s: %+v %v", mechanism, report, err)
			}
			if err := in.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestReconcile_ReconcilingNeedsABroker(t *testing.T) {
	parsed, err := inputSpec().ParseYAML("seed_brokers: [ '' ]\nraw: mem://\ndead_letter: mem://",
		service.NewEnvironment())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newInput(parsed, service.MockResources()); err == nil || !strings.Contains(err.Error(),
		"seed_brokers names no broker") {
		t.Errorf("the error is %v", err)
	}
}
