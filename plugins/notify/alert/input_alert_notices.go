package alert

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/platform/conf"
	"weir/internal/platform/sqldb"
	"weir/internal/platform/text"
)

const (
	noticesFieldURL         = "url"
	noticesFieldChannel     = "channel"
	noticesFieldEnabled     = "enabled"
	noticesFieldMinSeverity = "min_severity"
	noticesFieldReasons     = "reasons"
	noticesFieldInterval    = "interval"
	noticesFieldPoll        = "poll"
	noticesFieldMaxAge      = "max_age"
	noticesFieldMaxTries    = "max_tries"
	noticesFieldBackoff     = "backoff"
	noticesFieldMaxBackoff  = "max_backoff"
)

func noticesSpec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Version("1.0.0").
		Categories("Weir").
		Summary("Hands a notification channel the notices that it has to send, and records their outcome.").
		Description(`
A notice is one message to people about one or more alerts, made by `+"`alert_store`"+`. Each channel has its own queue in the store, so a channel that is down delays no other. A message of this input is a notice:

`+"```json"+`
{"notice_id":"…","group":"…","reason":"opened","kind":"metric","fleet":"plant-1","rule":"processor_hot","severity":"critical",
 "count":500,"open":500,"alerts":[{"alert_id":"…","device_id":"pump-1","metric":"cpu_temp","value":97,"summary":"…","at":"…"}],"at":"…","attempt":1}
`+"```"+`

`+"`reason`"+` is `+"`opened`, `resolved` or `escalated`; `alerts`"+` has the first twenty, `+"`count`"+` is the number of all, `+"`open`"+` the number of those in the group that are open now.

A notice whose message is acknowledged was sent. One that the output refuses is tried again, after a pause that doubles each time or that the receiver asks for. After the last try, or when the receiver says that no retry can succeed, the notice comes once more, as a failed message with code `+"`delivery_failed`"+`: route it to the dead letters.

A notice is sent at least once: after a crash, the one that was being sent is sent again. Its `+"`notice_id`"+` stays the same.

### Metrics

`+"`weir_alert_deliveries_total{channel,result=sent|retried|dead}`"+`.`).
		Field(service.NewStringField(noticesFieldURL).
			Description("The SQL store of alerts: `sqlite://PATH` or `postgres://…`.").
			Secret().Example("sqlite://data/control.db")).
		Field(service.NewStringField(noticesFieldChannel).
			Description("The name of the channel.").
			Example("slack")).
		Field(service.NewStringField(noticesFieldEnabled).
			Description("If this is empty, the channel sends nothing. Put a setting here without which it cannot send, "+
				"such as `${WEIR_NOTIFY_SLACK_URL:}`.").
			Default("true").Secret()).
		Field(service.NewStringEnumField(noticesFieldMinSeverity, "info", "warning", "critical").
			Description("The lowest severity that is sent.").
			Default("info")).
		Field(service.NewStringListField(noticesFieldReasons).
			Description("The reasons for which notices are sent: `opened`, `resolved`, `escalated`.").
			Default([]any{reasonOpened, reasonResolved, reasonEscalated})).
		Field(service.NewDurationField(noticesFieldInterval).
			Description("The rate limit: the minimum time between two messages.").
			Default("1s")).
		Field(service.NewDurationField(noticesFieldPoll).
			Description("How often the store is asked for notices.").
			Default("500ms").Advanced()).
		Field(service.NewDurationField(noticesFieldMaxAge).
			Description("A notice that is older than this before its first try is not sent, so that nobody is told of an "+
				"outage a week later.").
			Default("24h").Advanced()).
		Field(service.NewIntField(noticesFieldMaxTries).
			Description("The maximum number of tries of a notice. After the last one it becomes a failed message.").
			Default(10)).
		Field(service.NewDurationField(noticesFieldBackoff).
			Description("The pause before the second try. It doubles with each further one.").
			Default("5s")).
		Field(service.NewDurationField(noticesFieldMaxBackoff).
			Description("The longest pause between two tries.").
			Default("5m")).
		Example("A channel", "A webhook; notices that it cannot deliver are dropped, after their failure was recorded.", `
input:
  alert_notices:
    url: sqlite://data/control.db
    channel: webhook
    enabled: ${WEIR_NOTIFY_WEBHOOK_URL:}

output:
  switch:
    cases:
      - check: errored()
        output:
          drop: {}
      - output:
          alert_webhook:
            url: ${WEIR_NOTIFY_WEBHOOK_URL:}
`)
}

// notices implements the input alert_notices.
type notices struct {
	res      *service.Resources
	url      string
	enabled  bool
	interval time.Duration
	poll     time.Duration
	queue    queue
	counter  *service.MetricCounter
	now      func() time.Time

	mu      sync.Mutex
	release func()
	next    time.Time // rate limit: read nothing before then
	done    chan struct{}
	once    sync.Once
}

func newNotices(parsed *service.ParsedConfig, res *service.Resources) (in *notices, err error) {
	in = &notices{res: res, now: time.Now, done: make(chan struct{})}
	var enabled, severity string
	q := &in.queue
	if err := conf.Read(parsed, noticesFieldURL, sqldb.URL(&in.url), noticesFieldChannel, &q.channel,
		noticesFieldEnabled, &enabled,
		noticesFieldMinSeverity, &severity, noticesFieldReasons, &q.reasons,
		noticesFieldInterval, conf.NotNegative(&in.interval), noticesFieldPoll, conf.Positive(&in.poll),
		noticesFieldMaxAge, conf.NotNegative(&q.maxAge), noticesFieldMaxTries, conf.Positive(&q.maxTries),
		noticesFieldBackoff, conf.Positive(&q.backoff), noticesFieldMaxBackoff, conf.Positive(&q.maxBackoff)); err != nil {
		return nil, err
	}
	in.enabled, in.queue.minSeverity = enabled != "", severities()[severity]
	for _, r := range in.queue.reasons {
		if r != reasonOpened && r != reasonResolved && r != reasonEscalated {
			return nil, fmt.Errorf("reading alert_notices: reason %q is not one of opened, resolved, escalated", r)
		}
	}
	if q.maxBackoff < q.backoff || q.channel == "" {
		return nil, errors.New("reading alert_notices: expected a channel, and max_backoff of at least backoff")
	}
	if err := conf.Checked(parsed, nil); err != nil {
		return nil, err
	}
	in.counter = res.Metrics().NewCounter("weir_alert_deliveries_total", "channel", "result")
	for _, result := range []string{deliverySent, deliveryDead, "retried"} {
		in.counter.Incr(0, in.queue.channel, result)
	}
	return in, nil
}

// Connect opens the store, unless the channel is disabled.
func (in *notices) Connect(ctx context.Context) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.enabled || in.release != nil {
		return nil
	}
	store, release, err := sqldb.SharedAs(ctx, in.res, in.url, func(ctx context.Context, db *sqldb.DB) (*store, error) {
		return openStore(ctx, db, defaultPolicy())
	})
	if err != nil {
		return err
	}
	in.queue.store = store
	if err := in.queue.open(ctx, in.now()); err != nil {
		release()
		return err
	}
	in.release = release
	return nil
}

// Read waits for the next due notice.
func (in *notices) Read(ctx context.Context) (*service.Message, service.AckFunc, error) {
	for {
		if in.enabled && !in.now().Before(in.next) {
			n, err := in.queue.take(ctx, in.now())
			if err != nil {
				return nil, nil, err
			}
			if n != nil {
				in.next = in.now().Add(in.interval)
				return in.message(n)
			}
		}
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-in.done:
			return nil, nil, service.ErrEndOfInput
		case <-time.After(in.poll):
		}
	}
}

func (in *notices) message(n *outgoing) (*service.Message, service.AckFunc, error) {
	raw, err := text.JSON(n)
	if err != nil {
		return nil, nil, fmt.Errorf("writing a notice: %w", err)
	}
	msg := service.NewMessage(raw)
	msg.MetaSetMut(event.HeaderFleet, n.Fleet)
	msg.MetaSetMut(event.HeaderReceivedAt, n.At)
	if n.failed {
		event.MarkRejected(msg, event.Reject(event.CodeDeliveryFailed, "",
			fmt.Sprintf("channel %s, %d tries: %s", in.queue.channel, n.Attempt, n.lastError)))
	}
	return msg, func(ctx context.Context, cause error) error {
		state, err := in.queue.settle(context.WithoutCancel(ctx), n, cause, in.now())
		if err != nil {
			return err // the notice is sent again when its lease ends
		}
		switch state {
		case deliverySent, deliveryDead:
			in.counter.Incr(1, in.queue.channel, state)
		default:
			in.counter.Incr(1, in.queue.channel, "retried")
		}
		return nil
	}, nil
}

// Close stops reading. The engine waits for the acknowledgement of a notice in flight.
func (in *notices) Close(context.Context) error {
	in.once.Do(func() { close(in.done) })
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.release != nil {
		in.release()
		in.release = nil
	}
	return nil
}

var _ service.Input = (*notices)(nil)
