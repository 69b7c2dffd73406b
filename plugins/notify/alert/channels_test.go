package alert

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/bloblang"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure/extended"
	"github.com/redpanda-data/benthos/v4/public/service"
	_ "github.com/redpanda-data/connect/v4/public/components/io"
	_ "github.com/redpanda-data/connect/v4/public/components/kafka"
	_ "github.com/redpanda-data/connect/v4/public/components/pure"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/platform/kafka"
	"weir/plugins/notify/channel"
	"weir/plugins/notify/watch"
	"weir/plugins/process/consumer"
	"weir/plugins/store/deadletter"
	"weir/tests/integration/testbed"
)

// receiver is an HTTP server that keeps what it gets and answers as told.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	bodies []string
	heads  []http.Header
	times  []time.Time
	answer func(n int, w http.ResponseWriter, r *http.Request)
}

func newReceiver(t *testing.T, answer func(n int, w http.ResponseWriter, r *http.Request)) *receiver {
	r := &receiver{answer: answer}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		raw, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		r.bodies, r.heads, r.times = append(r.bodies, string(raw)), append(r.heads, req.Header), append(r.times, time.Now())
		n := len(r.bodies)
		r.mu.Unlock()
		if r.answer != nil {
			r.answer(n, w, req)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) got() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.bodies...)
}

// within waits until a condition holds.
func within(t *testing.T, d time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(d); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %s", what, d)
		}
	}
}

// house is a control store, a log, and channels as they are shipped.
type house struct {
	*fixture
	url  string
	log  *kfake.Cluster
	logs *safeBuffer
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newHouse(t *testing.T) *house {
	t.Helper()
	log, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "dead-letter", "alert-events"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(log.Close)
	url := "sqlite://" + t.TempDir() + "/control.db"
	h := &house{newFixture(t, url), url, log, &safeBuffer{}}
	h.now = time.Now()
	return h
}

// run starts a stream as it is shipped.
func (h *house) run(file string, env map[string]string) {
	h.t.Helper()
	raw, err := os.ReadFile("../../../configs/streams/" + file)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := kafka.RegisterFunctions(bloblang.GlobalEnvironment()); err != nil {
		h.t.Fatal(err)
	}
	e := service.GlobalEnvironment().Clone() // as the program does
	for _, register := range []func(*service.Environment) error{Register, channel.Register, watch.Register,
		deadletter.Register, consumer.Register} {
		if err := register(e); err != nil {
			h.t.Fatal(err)
		}
	}
	for _, template := range []string{"log_output", "dead_letters"} {
		if raw, err := os.ReadFile("../../../configs/templates/" + template + ".yaml"); err != nil ||
			e.RegisterTemplateYAML(string(raw)) != nil {
			h.t.Fatal(template, err)
		}
	}
	h.t.Setenv("WEIR_BROKERS", h.log.ListenAddrs()[0]) // of the templates
	b := e.NewStreamBuilder()
	b.SetLogger(slog.New(slog.NewTextHandler(h.logs, nil)))
	b.SetEnvVarLookupFunc(func(name string) (string, bool) {
		switch name {
		case "WEIR_CONTROL_URL":
			return h.url, true
		case "WEIR_BROKERS":
			return h.log.ListenAddrs()[0], true
		}
		v, ok := env[name]
		return v, ok
	})
	if err := b.SetYAML(string(raw)); err != nil {
		h.t.Fatal(err)
	}
	testbed.Run(h.t, b)
}

// channel waits until a channel has noted that it exists: from then on,
// notices are for it.
func (h *house) channel(name string) {
	h.t.Helper()
	within(h.t, 10*time.Second, "opening channel "+name, func() bool {
		n := 0
		err := h.db.QueryRow(`SELECT count(*) FROM alert_channel WHERE channel = $1`, name).Scan(&n)
		return err == nil && n == 1
	})
}

// tell makes a notice of some alerts that open now, and seals it.
func (h *house) tell(devices ...string) {
	h.t.Helper()
	var list []string
	h.now = time.Now()
	for _, d := range devices {
		list = append(list, metric("alert-"+d, "opened", d, h.now))
	}
	h.apply(list...)
	h.sealAll()
}

func (h *house) sealAll() {
	h.t.Helper()
	if _, err := h.db.Exec(`UPDATE alert_notice SET sealed_at = $1 WHERE sealed_at IS NULL`,
		time.Now().UnixMicro()); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) delivery(channel string) (state string, attempts int, text string) {
	h.t.Helper()
	if err := h.db.QueryRow(`SELECT state, attempts, last_error FROM alert_delivery WHERE channel = $1`,
		channel).Scan(&state, &attempts, &text); err != nil {
		return "", 0, ""
	}
	return state, attempts, text
}

func (h *house) settled(channel, want string) (attempts int, text string) {
	h.t.Helper()
	within(h.t, 20*time.Second, channel+" is "+want, func() bool {
		state, _, _ := h.delivery(channel)
		return state == want
	})
	_, attempts, text = h.delivery(channel)
	return attempts, text
}

// deadLetter reads one dead letter of the log.
func (h *house) deadLetter() *deadletter.Envelope {
	h.t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(h.log.ListenAddrs()...), kgo.ConsumeTopics("dead-letter"))
	if err != nil {
		h.t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		records := c.PollFetches(ctx).Records()
		if len(records) == 0 {
			continue
		}
		e, err := deadletter.ParseEnvelope(records[0].Value)
		if err != nil {
			h.t.Fatal(err)
		}
		return e
	}
	h.t.Fatal("no dead letter came")
	return nil
}

func TestAlert_EachChannelSendsWhatItsReceiverUnderstands(t *testing.T) {
	h := newHouse(t)
	slack, pager, hook := newReceiver(t, nil), newReceiver(t, nil), newReceiver(t, nil)
	mail := newMailServer(t)
	t.Setenv("WEIR_NOTIFY_PAGERDUTY_KEY", "routing-1")
	secretFile := t.TempDir() + "/url"
	if err := os.WriteFile(secretFile, []byte(slack.URL+"/T0/B0/token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.run("notify_slack.yaml", map[string]string{"WEIR_NOTIFY_SLACK_URL": "file://" + secretFile,
		"WEIR_NOTIFY_SLACK_INTERVAL": "1ms"})
	h.run("notify_pagerduty.yaml", map[string]string{"WEIR_NOTIFY_PAGERDUTY_KEY": "routing-1",
		"WEIR_NOTIFY_PAGERDUTY_URL": pager.URL})
	h.run("notify_webhook.yaml", map[string]string{"WEIR_NOTIFY_WEBHOOK_URL": hook.URL,
		"WEIR_NOTIFY_WEBHOOK_SECRET": "s3cret"})
	h.run("notify_email.yaml", map[string]string{"WEIR_NOTIFY_SMTP_URL": "smtp+insecure://" + mail.addr,
		"WEIR_NOTIFY_EMAIL_TO": "ops@example.com, night@example.com"})
	for _, c := range []string{"slack", "pagerduty", "webhook", "email"} {
		h.channel(c)
	}
	h.tell("d1", "d2", "d3", "d4", "d5", "d6")
	for _, c := range []string{"slack", "pagerduty", "webhook", "email"} {
		if n, _ := h.settled(c, deliverySent); n != 1 {
			t.Errorf("%s took %d tries", c, n)
		}
	}

	if got := slack.got()[0]; got != `{"text":":red_circle: *acme* hot (6)\n• opened of d1\n• opened of d2\n• opened of d3\n• opened of d4\n• opened of d5\n… and 1 more"}` {
		t.Errorf("slack got %s", got)
	}
	var event struct {
		RoutingKey  string `json:"routing_key"`
		EventAction string `json:"event_action"`
		DedupKey    string `json:"dedup_key"`
		Payload     struct{ Summary, Source, Severity string }
	}
	if err := json.Unmarshal([]byte(pager.got()[0]), &event); err != nil || event.RoutingKey != "routing-1" ||
		event.EventAction != "trigger" ||
		len(event.DedupKey) != 64 || event.Payload.Severity != "critical" || event.Payload.Source != "d1" ||
		!strings.Contains(event.Payload.Summary, "acme: hot (6). opened of d1") {
		t.Errorf("pagerduty got %s: %v", pager.got()[0], err)
	}
	body, head := hook.got()[0], hook.heads[0]
	var n outgoing
	if err := json.Unmarshal([]byte(body), &n); err != nil || n.Count != 6 || len(n.Alerts) != 6 || n.Open != 6 ||
		head.Get("Idempotency-Key") != n.ID {
		t.Errorf("the webhook got %s: %v", body, err)
	}
	at, signature, _ := strings.Cut(head.Get("Weir-Signature"), ",v1=")
	mac := hmac.New(sha256.New, []byte("s3cret"))
	mac.Write([]byte(strings.TrimPrefix(at, "t=") + "." + body))
	if signature != hex.EncodeToString(mac.Sum(nil)) {
		t.Errorf("the signature is %q", head.Get("Weir-Signature"))
	}
	if m := mail.got(); len(m) != 1 || m[0].to != "ops@example.com night@example.com" ||
		!strings.Contains(m[0].data, "Subject: [critical] acme: hot (6)") ||
		!strings.Contains(m[0].data, "opened of d3") || !strings.Contains(m[0].data, "open now: 6") ||
		!strings.Contains(m[0].data, n.ID) {
		t.Errorf("the mail server got %+v", m)
	}

	// the incident is over when the last of its alerts has resolved
	if _, err := h.db.Exec(`UPDATE alert SET state = 'resolved' WHERE device_id <> 'd1'`); err != nil {
		t.Fatal(err)
	}
	h.apply(metric("alert-d1", "resolved", "d1", time.Now().Add(time.Minute)))
	h.sealAll()
	within(t, 10*time.Second, "the incident's end", func() bool { return len(pager.got()) == 2 })
	var over struct {
		EventAction string `json:"event_action"`
		DedupKey    string `json:"dedup_key"`
	}
	if err := json.Unmarshal([]byte(pager.got()[1]), &over); err != nil || over.EventAction != "resolve" ||
		over.DedupKey != event.DedupKey {
		t.Errorf("pagerduty got %s: %v", pager.got()[1], err)
	}
}

func TestAlert_ReceiverThatKeepsFailingLeavesADeadLetter(t *testing.T) {
	h := newHouse(t)
	hook := newReceiver(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "out of order", http.StatusInternalServerError)
	})
	h.run("notify_webhook.yaml", map[string]string{"WEIR_NOTIFY_WEBHOOK_URL": hook.URL + "/token-1",
		"WEIR_NOTIFY_MAX_TRIES": "3", "WEIR_NOTIFY_BACKOFF": "100ms"})
	h.channel("webhook")
	h.tell("d")
	attempts, text := h.settled("webhook", deliveryDead)
	if got := len(hook.got()); got != 3 || attempts != 3 || !strings.Contains(text, "500") {
		t.Errorf("%d requests, %d tries recorded, the last: %s", got, attempts, text)
	}
	e := h.deadLetter()
	if e.Code != "delivery_failed" || e.Stage != "notify" || e.Fleet != "acme" || !strings.Contains(e.Original,
		`"alert_id":"alert-d"`) || !strings.Contains(e.Message, "out of order") {
		t.Errorf("the dead letter is %+v", e)
	}
	if logs := h.logs.String(); strings.Contains(logs+text+e.Message, "token-1") {
		t.Errorf("the URL is in %s %s %s", logs, text, e.Message)
	}
}

func TestAlert_ReceiverThatAsksForAPauseGetsIt(t *testing.T) {
	h := newHouse(t)
	hook := newReceiver(t, func(n int, w http.ResponseWriter, _ *http.Request) {
		if n == 1 {
			w.Header().Set("Retry-After", "2")
			w.WriteHeader(http.StatusTooManyRequests)
		}
	})
	h.run("notify_webhook.yaml", map[string]string{"WEIR_NOTIFY_WEBHOOK_URL": hook.URL, "WEIR_NOTIFY_BACKOFF": "1ms"})
	h.channel("webhook")
	h.tell("d")
	if n, _ := h.settled("webhook", deliverySent); n != 2 || len(hook.times) != 2 ||
		hook.times[1].Sub(hook.times[0]) < 2*time.Second {
		t.Errorf("%d tries, at %v", n, hook.times)
	}
}

func TestAlert_ReceiverThatRefusesForGoodIsNotAskedAgain(t *testing.T) {
	h := newHouse(t)
	hook := newReceiver(t, func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) })
	h.run("notify_slack.yaml", map[string]string{"WEIR_NOTIFY_SLACK_URL": hook.URL, "WEIR_NOTIFY_BACKOFF": "1ms"})
	h.channel("slack")
	h.tell("d")
	if n, text := h.settled("slack", deliveryDead); n != 1 || len(hook.got()) != 1 {
		t.Errorf("%d tries, %d requests: %s", n, len(hook.got()), text)
	}
}

func TestAlert_ChannelThatStallsHoldsUpNoOther(t *testing.T) {
	h := newHouse(t)
	free := make(chan struct{})
	stalled := newReceiver(t, func(_ int, _ http.ResponseWriter, r *http.Request) {
		select {
		case <-free:
		case <-r.Context().Done():
		}
	})
	defer close(free)
	down, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = down.Close() // nobody listens there
	slack := newReceiver(t, nil)
	h.run("notify_webhook.yaml", map[string]string{"WEIR_NOTIFY_WEBHOOK_URL": stalled.URL})
	h.run("notify_email.yaml", map[string]string{"WEIR_NOTIFY_SMTP_URL": "smtp+insecure://" + down.Addr().String()})
	h.run("notify_slack.yaml", map[string]string{"WEIR_NOTIFY_SLACK_URL": slack.URL, "WEIR_NOTIFY_SLACK_INTERVAL": "1ms"})
	for _, c := range []string{"slack", "webhook", "email"} {
		h.channel(c)
	}
	for i := range 3 {
		h.tell(fmt.Sprint("d", i))
		within(t, 3*time.Second, "the other channel", func() bool { return len(slack.got()) > i })
	}
	within(t, 5*time.Second, "the stalled one", func() bool { return len(stalled.got()) > 0 })
}

func TestAlert_MailServerThatIsBusyIsTriedAgain(t *testing.T) {
	h := newHouse(t)
	mail := newMailServer(t)
	mail.busy = 2
	h.run("notify_email.yaml", map[string]string{"WEIR_NOTIFY_SMTP_URL": "smtp+insecure://" + mail.addr,
		"WEIR_NOTIFY_BACKOFF": "10ms", "WEIR_NOTIFY_EMAIL_INTERVAL": "1ms"})
	h.channel("email")
	h.tell("d")
	if n, _ := h.settled("email", deliverySent); n != 3 || len(mail.got()) != 1 {
		t.Errorf("%d tries, %d e-mails", n, len(mail.got()))
	}
}

func TestAlert_ChannelWithoutItsSecretIdles(t *testing.T) {
	h := newHouse(t)
	h.run("notify_slack.yaml", nil)
	h.tell("d")
	time.Sleep(700 * time.Millisecond)
	n := 0
	if err := h.db.QueryRow(`SELECT count(*) FROM alert_delivery`).Scan(&n); err != nil || n != 0 {
		t.Errorf("%d deliveries: %v", n, err)
	}
	if logs := h.logs.String(); strings.Contains(logs, "level=ERROR") || strings.Contains(logs, "level=WARN") {
		t.Errorf("it logs %s", logs)
	}
}

// What a dead process had taken is sent by another when the lease is over.
func TestAlert_NoticeOfADeadProcessIsSentByAnother(t *testing.T) {
	stores(t, func(t *testing.T, f *fixture) {
		q := queue{store: f.store, channel: "c", reasons: []string{reasonOpened}, maxAge: time.Hour, maxTries: 3,
			backoff: time.Second, maxBackoff: time.Minute}
		ctx := context.Background()
		if err := q.open(ctx, f.now); err != nil {
			t.Fatal(err)
		}
		f.apply(metric("a", "opened", "d", start))
		f.pass(10 * time.Second)
		n, err := q.take(ctx, f.now)
		if err != nil || n == nil {
			t.Fatalf("took %+v: %v", n, err)
		}
		if again, err := q.take(ctx, f.now.Add(lease/2)); err != nil || again != nil {
			t.Fatalf("taken twice: %+v, %v", again, err)
		}
		again, err := q.take(ctx, f.now.Add(lease+time.Second))
		if err != nil || again == nil || again.ID != n.ID {
			t.Fatalf("after the lease: %+v, %v", again, err)
		}
		if state, err := q.settle(ctx, again, nil, f.now); err != nil || state != deliverySent {
			t.Errorf("is %s: %v", state, err)
		}
		if more, err := q.take(ctx, f.now.Add(time.Hour/2)); err != nil || more != nil {
			t.Errorf("sent, and taken again: %+v, %v", more, err)
		}
	})
}
