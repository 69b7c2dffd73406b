package deadletter

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/platform/requestid"
)

// A dead letter of a stage after the log names the request in which its event was received: the one
// of the header, or else the one in the stamp of the receive time.
func TestDeadLetter_OfALaterStageNamesTheRequest(t *testing.T) {
	conf, err := processorSpec().ParseYAML("stage: raw", nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newProcessor(conf, service.MockResources())
	if err != nil {
		t.Fatal(err)
	}
	made := requestid.New().String()
	stamp, _ := requestid.Stamp(made, time.Now().Add(time.Second))
	const own = "0af7651916cd43dd8448eb211c80319c"
	for _, c := range []struct{ received, header, want string }{
		{stamp, "", made}, {"2026-11-28T03:27:39.123456Z", own, own}, {"2026-11-28T03:27:39.123456Z", "", ""},
	} {
		msg := service.NewMessage([]byte(`{"event_id":1}`))
		msg.MetaSetMut(event.HeaderReceivedAt, c.received)
		if c.header != "" {
			msg.MetaSetMut(event.HeaderRequest, c.header)
		}
		event.MarkRejected(msg, event.Reject(event.CodeInvalidEvent, "", "no id"))
		out, err := p.Process(t.Context(), msg)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := out[0].AsBytes()
		var e Envelope
		if err == nil {
			err = json.Unmarshal(raw, &e)
		}
		if err != nil || e.Headers[event.HeaderRequest] != c.want || len(e.ReceivedAt) != len("2026-11-28T03:27:39.123456Z") {
			t.Errorf("%+v: %v %v", c, e.Headers, err)
		}
	}
}
