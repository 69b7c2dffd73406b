package consent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	_ "github.com/redpanda-data/connect/v4/public/components/pure"

	"weir/internal/control/consent"
	"weir/internal/event"
	"weir/internal/platform/sqldb"
)

var received = time.Date(2026, 11, 21, 9, 30, 0, 0, time.UTC)

func parsed(t testing.TB, yaml string) *service.ParsedConfig {
	t.Helper()
	conf, err := spec().ParseYAML(yaml, nil)
	if err != nil {
		t.Fatal(err)
	}
	return conf
}

// message is an event of a subject, which happened so long before it was received.
func message(subject string, age time.Duration) *service.Message {
	m := service.NewMessage(fmt.Appendf(nil, `{"event_id":"6f1c2a34-9b7d-4e21-8a55-0c1d2e3f4a5b","device_id":%q,`+
		`"device_firmware_version":"1.0.0","timestamp":%q,"metrics":{},"user":{"id":"u-%s","n":7},"payload":{"secret":"inner life"}}`,
		subject, received.Add(-age).Format(time.RFC3339Nano), subject))
	m.MetaSetMut(event.HeaderFleet, "acme")
	m.MetaSetMut(event.HeaderReceivedAt, received.Format(event.TimeFormat))
	return m
}

// says is a history of one purpose: g for granted and w for withdrawn, and how
// many hours before the event was received.
func says(words ...string) (h consent.History) {
	for _, word := range words {
		var hours int
		_, _ = fmt.Sscan(word[1:], &hours)
		h = append(h, consent.Change{Granted: word[0] == 'g', At: received.Add(-time.Duration(hours) * time.Hour)})
	}
	return h
}

func TestConsent_AnEventIsJudgedAsOfItsTimeAndNow(t *testing.T) {
	for _, c := range []struct {
		history consent.History
		hours   int // before it was received
		region  string
		why     string // "" passes
	}{
		{says("g5"), 1, "", ""},
		{says("g5"), 5, "", ""},
		{says("g5"), 6, "", deniedThen},   // agreed later
		{says("g5"), 6, "US", ""},         // where who has said nothing passes
		{says("w5"), 1, "US", deniedThen}, // who has said no does not
		{says("g5", "w1"), 3, "US", deniedNow},
		{says("g5", "w1"), 0, "US", deniedThen},
		{says("w9", "g5"), 7, "US", deniedThen},
		{says("w9", "g5"), 4, "", ""},
		{says("g5", "w4", "g3"), 2, "", ""},
		{nil, 1, "", deniedNone}, {nil, 1, "DE", deniedNone}, {nil, 1, "US", ""}, {nil, 1, "US-TX", ""},
		{nil, 1, "US-CA", deniedNone}, {nil, 1, "BR", ""}, {nil, -5, "US", ""},
		{says("g5"), -5, "", ""}, // a clock that is ahead
	} {
		conf := "{ url: 'sqlite://x', purposes: [ads], unknown_in: { US: pass, US-CA: deny, ads/BR: pass, BR: deny } }"
		p, err := newProcessor(parsed(t, conf), service.MockResources())
		if err != nil {
			t.Fatal(err)
		}
		p.read = func(context.Context, string, []string) (consent.Histories, error) {
			return consent.Histories{{Subject: "pump-1", Purpose: "ads"}: c.history}, nil
		}
		m := message("pump-1", time.Duration(c.hours)*time.Hour)
		m.MetaSetMut(event.HeaderRegion, c.region)
		if _, err := p.ProcessBatch(t.Context(), service.MessageBatch{m}); err != nil {
			t.Fatal(err)
		}
		r := event.RejectionOf(m)
		raw, _ := m.AsBytes()
		if c.why == "" {
			if r != nil || !strings.Contains(string(raw), "inner life") {
				t.Errorf("%+v: %+v, %s", c, r, raw)
			}
			continue
		}
		if r == nil || r.Code != event.CodeConsentDenied || r.Errors[0].Message != fmt.Sprintf(c.why, "ads") {
			t.Errorf("%+v: %+v", c, r)
		}
		if strings.Contains(string(raw), "pump-1") || strings.Contains(string(raw), "inner") ||
			!strings.HasPrefix(string(raw), `{"event_id":"6f1c2a34-9b7d-4e21-8a55-0c1d2e3f4a5b","timestamp":"2026-11-21T`) {
			t.Errorf("%+v: of a denied event there is %s", c, raw)
		}
	}
}

func TestConsent_EveryPurposeMustBeAgreedToByTheSubjectOfTheEvent(t *testing.T) {
	for pointer, subject := range map[string]string{"/device_id": "pump-1", "/user/id": "u-pump-1", "/user/n": "7"} {
		for _, agreed := range [][]string{{"ads"}, {"ads", "ml"}} {
			p, err := newProcessor(parsed(t, "{ url: 'sqlite://x', purposes: [ads, ml], subject: "+pointer+" }"),
				service.MockResources())
			if err != nil {
				t.Fatal(err)
			}
			var asked []string
			p.read = func(_ context.Context, _ string, subjects []string) (consent.Histories, error) {
				asked = append(asked, subjects...)
				said := consent.Histories{}
				for _, purpose := range agreed {
					said[consent.Said{Subject: subject, Purpose: purpose}] = says("g5")
				}
				return said, nil
			}
			m := message("pump-1", 0)
			if _, err := p.ProcessBatch(t.Context(), service.MessageBatch{m, message("pump-1", 0)}); err != nil {
				t.Fatal(err)
			}
			if (m.GetError() == nil) != (len(agreed) == 2) || fmt.Sprint(asked) != "["+subject+"]" {
				t.Errorf("%s, %v: %v, asked for %v", pointer, agreed, m.GetError(), asked)
			}
		}
	}
}

func TestConsent_WrongConfigsAreRefused(t *testing.T) {
	for _, wrong := range []string{"purposes: []", "purposes: [Ads]", "purposes: [a], subject: user",
		"purposes: [a], unknown: maybe",
		"purposes: [a], unknown_in: { usa: pass }", "purposes: [a], unknown_in: { b/US: pass }",
		"purposes: [a], unknown_in: { US: yes }", "purposes: [a], timeout: 0s"} {
		if _, err := newProcessor(parsed(t, "{ url: 'sqlite://x', "+wrong+" }"), service.MockResources()); err == nil {
			t.Errorf("%s is taken", wrong)
		}
	}
}

// The store is lost in the middle of traffic, and consents are withdrawn before it
// is back: what waited is counted once, passed or denied, and nothing of who has
// withdrawn passes.
func TestConsent_NothingLeaksWhileTheStoreIsAway(t *testing.T) {
	url := "sqlite://" + t.TempDir() + "/control.db"
	db, err := sqldb.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	store, err := consent.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	put := func(granted bool, at time.Time, subjects ...string) {
		t.Helper()
		for _, subject := range subjects {
			change := consent.Change{Purpose: "ads", Granted: granted, At: at}
			if _, err := store.Put(t.Context(), "acme", subject, change); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(true, received.Add(-time.Hour), "stays", "leaves")
	stream := running(t, url)
	send := func(n int) {
		t.Helper()
		for range n {
			for _, subject := range []string{"stays", "leaves", "silent"} {
				stream.sent.Go(func() {
					if err := stream.send(t.Context(), service.MessageBatch{message(subject, 0)}); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
	send(20)
	stream.sent.Wait()
	if got := stream.counts(); got != "denied 20, leaves 20, stays 20" {
		t.Fatal("before:", got)
	}
	exec := func(statement string) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	exec(`ALTER TABLE consent RENAME TO gone`)
	send(20)
	stream.failing(t, 3) // the store was asked in vain
	if got := stream.counts(); got != "denied 20, leaves 20, stays 20" {
		t.Fatal("while the store is away:", got)
	}
	exec(`INSERT INTO gone SELECT fleet, subject, purpose, ` + fmt.Sprint(received.Add(time.Minute).UnixMicro()) +
		`, 0, '', '', 0 FROM gone WHERE subject = 'leaves'`)
	exec(`ALTER TABLE gone RENAME TO consent`)
	stream.sent.Wait()
	if got := stream.counts(); got != "denied 60, leaves 20, stays 40" {
		t.Fatal("after:", got)
	}
}

// stream is a stream with the processor, and what came out of it.
type stream struct {
	send service.MessageBatchHandlerFunc
	sent sync.WaitGroup

	mu  sync.Mutex
	out map[string]int
	bad int // tries of the store that failed
}

func running(t *testing.T, url string) *stream {
	t.Helper()
	f := &stream{out: map[string]int{}}
	env := service.NewEnvironment()
	if err := env.RegisterBatchProcessor("consent", spec(),
		func(conf *service.ParsedConfig, res *service.Resources) (service.BatchProcessor, error) {
			p, err := newProcessor(conf, res)
			if err == nil {
				read := p.read
				p.read = func(ctx context.Context, fleet string, subjects []string) (consent.Histories, error) {
					said, err := read(ctx, fleet, subjects)
					if err != nil {
						f.mu.Lock()
						f.bad++
						f.mu.Unlock()
					}
					return said, err
				}
			}
			return p, err
		}); err != nil {
		t.Fatal(err)
	}
	b := env.NewStreamBuilder()
	b.SetThreads(4)
	if err := errors.Join(b.SetLoggerYAML("level: OFF"),
		b.AddProcessorYAML("consent: { url: '"+url+"', purposes: [ads] }"),
		b.AddBatchConsumerFunc(func(_ context.Context, batch service.MessageBatch) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			for _, m := range batch {
				raw, _ := m.AsBytes()
				var e event.Event
				if r := event.RejectionOf(m); r != nil && r.Code == event.CodeConsentDenied {
					f.out["denied"]++
				} else if err := event.Parse(raw, &e); err != nil || r != nil {
					f.out["failed"]++
				} else {
					f.out[strings.Clone(e.Device)]++
				}
			}
			return nil
		})); err != nil {
		t.Fatal(err)
	}
	send, err := b.AddBatchProducerFunc()
	if err != nil {
		t.Fatal(err)
	}
	f.send = send
	stream, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- stream.Run(context.Background()) }()
	t.Cleanup(func() {
		_ = stream.StopWithin(time.Minute)
		<-ended
	})
	return f
}

func (f *stream) counts() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	for _, name := range slices.Sorted(maps.Keys(f.out)) {
		all = append(all, fmt.Sprint(name, " ", f.out[name]))
	}
	return strings.Join(all, ", ")
}

// failing waits until the store was asked so many times in vain.
func (f *stream) failing(t *testing.T, n int) {
	t.Helper()
	for until := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		f.mu.Lock()
		bad := f.bad
		f.mu.Unlock()
		if bad >= n {
			return
		}
		if time.Now().After(until) {
			t.Fatal("the store was not asked")
		}
	}
}

// Told to stop while the store is away, it hands the batch back as it was.
func TestConsent_AStopHandsTheBatchBack(t *testing.T) {
	p, err := newProcessor(parsed(t, "{ url: 'sqlite://x', purposes: [ads] }"), service.MockResources())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	p.read = func(context.Context, string, []string) (consent.Histories, error) {
		cancel()
		return nil, errors.New("down")
	}
	m := message("pump-1", 0)
	before, _ := m.AsBytes()
	if _, err := p.ProcessBatch(ctx, service.MessageBatch{m}); err == nil {
		t.Fatal("no error")
	}
	if after, _ := m.AsBytes(); m.GetError() != nil || string(after) != string(before) {
		t.Error("it was marked:", m.GetError())
	}
}

// A subject of which nobody can have said anything is not asked for: a store may
// refuse the question, and all would wait for its answer.
func TestConsent_NoStoreIsAskedForWhatIsNoSubject(t *testing.T) {
	p, err := newProcessor(parsed(t, "{ url: 'sqlite://x', purposes: [ads], subject: /user/id, unknown: pass }"),
		service.MockResources())
	if err != nil {
		t.Fatal(err)
	}
	var asked []string
	p.read = func(_ context.Context, _ string, subjects []string) (consent.Histories, error) {
		asked = append(asked, subjects...)
		return consent.Histories{}, nil
	}
	var batch service.MessageBatch
	for _, id := range []string{`"\u0000"`, `"a\nb"`, `"` + strings.Repeat("x", 300) + `"`, `"u-1"`} {
		m := message("d", time.Hour)
		raw, err := m.AsBytes()
		if err != nil {
			t.Fatal(err)
		}
		m.SetBytes([]byte(strings.Replace(string(raw), `"id":"u-d"`, `"id":`+id, 1)))
		batch = append(batch, m)
	}
	if _, err := p.ProcessBatch(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	for i, m := range batch {
		if m.GetError() != nil {
			t.Errorf("%d: %v", i, m.GetError())
		}
	}
	if !slices.Equal(asked, []string{"u-1"}) {
		t.Errorf("asked for %q", asked)
	}
}
