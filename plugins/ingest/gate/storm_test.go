package gate

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/redpanda-data/connect/v4/public/components/kafka"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/control/apikey"
)

// storm is a gate on Kafka under load, while things change beneath it.
type storm struct {
	t        *testing.T
	w        *world
	client   *http.Client
	key      atomic.Value // that everybody uses, but those who still have
	old      atomic.Value // the one before; "" when nobody does
	underWay sync.RWMutex // read-locked by each honest request
	mu       sync.Mutex
	accepted map[string]bool
	with     map[string]int // events that were accepted, by key
	statuses map[int]int
	answered [6]int          // hostile requests, by what they do
	replies  bytes.Buffer    // of these
	names    map[string]bool // on the gate's certificates
}

const payloadSecret = "planted-payload-secret"

func stormBroker(t *testing.T, dir string, port int) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(port), kfake.DataDir(dir), kfake.SyncWrites(),
		kfake.SeedTopics(4, "raw-events"), kfake.SeedTopics(1, "dead-letter"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (s *storm) event(id string) string {
	return strings.Replace(strings.Replace(goodEvent, "5f0c9d0e-31f4-4c0e-8f0a-9d8f6f3b2a10", id, 1), "{",
		`{"note":"`+payloadSecret+`",`, 1)
}

// device sends batches until ctx ends, each again until it is accepted. Every other
// device keeps the old key for as long as there is one.
func (s *storm) device(ctx context.Context, n int) {
	for seq := 0; ctx.Err() == nil; seq++ {
		ids, texts := []string{}, []string{}
		for i := range 10 {
			id := fmt.Sprintf("%08x-0000-4000-8000-%012x", n, seq*10+i)
			ids, texts = append(ids, id), append(texts, s.event(id))
		}
		body := "[" + strings.Join(texts, ",") + "]"
		for {
			status, after, ok := s.post(body, n%2 == 1, ids)
			if !ok {
				return
			}
			if status == http.StatusAccepted {
				break
			}
			time.Sleep(min(after, 300*time.Millisecond))
		}
	}
}

// post sends events, and notes that they were accepted, if they were. It is not ok to be
// told anything but that, or to come again.
func (s *storm) post(body string, slow bool, ids []string) (status int, after time.Duration, ok bool) {
	s.underWay.RLock()
	defer s.underWay.RUnlock()
	key := s.key.Load().(string)
	if old := s.old.Load().(string); slow && old != "" {
		key = old
	}
	req, err := http.NewRequest("POST", s.w.url+"/v1/events", strings.NewReader(body))
	if err != nil {
		s.t.Error(err)
		return 0, 0, false
	}
	req.Header.Set("X-API-Key", key)
	res, err := s.client.Do(req)
	if err != nil {
		s.t.Errorf("an honest client: %v", err)
		return 0, 0, false
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.statuses[res.StatusCode]++
	s.names[res.TLS.PeerCertificates[0].Subject.CommonName] = true
	seconds, err := strconv.Atoi(res.Header.Get("Retry-After"))
	switch {
	case res.StatusCode == http.StatusAccepted:
		for _, id := range ids {
			s.accepted[id] = true
		}
		s.with[key] += len(ids)
	case res.StatusCode != http.StatusServiceUnavailable || err != nil || seconds < 1:
		s.t.Errorf("status %d, Retry-After %q", res.StatusCode, res.Header.Get("Retry-After"))
		return 0, 0, false
	}
	return res.StatusCode, time.Duration(seconds) * time.Second, true
}

// until waits for what is told under the lock; a busy machine may take its time.
func (s *storm) until(what string, is func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		got := func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return is()
		}()
		switch {
		case got:
			return
		case s.t.Failed():
			s.t.FailNow()
		case time.Now().After(deadline):
			s.t.Fatalf("%s: not within two minutes", what)
		}
	}
}

// more waits until so many events more were accepted with a key.
func (s *storm) more(what, key string, events int) {
	s.t.Helper()
	s.mu.Lock()
	want := s.with[key] + events
	s.mu.Unlock()
	s.until(what, func() bool { return s.with[key] >= want })
}

// stranger does harm until ctx ends, each kind in turn.
func (s *storm) stranger(ctx context.Context, bomb []byte) {
	for n := 0; ctx.Err() == nil; n++ {
		var body []byte
		header := map[string]string{"X-API-Key": s.key.Load().(string)}
		kind := n % len(s.answered)
		switch kind {
		case 0:
			header["X-API-Key"] = "weir_" + strings.Repeat("a", 10) + "_" + strings.Repeat("b", 52)
		case 1:
			body = []byte("[{" + payloadSecret)
		case 2:
			body, header["Content-Encoding"] = bomb, "gzip"
		case 3:
			body = bytes.Repeat([]byte("["), 900_000)
		case 4: // a connection that is left half open
			if c, err := tls.Dial("tcp", s.w.addr, s.client.Transport.(*http.Transport).TLSClientConfig); err == nil {
				_, _ = c.Write([]byte("POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"))
				time.AfterFunc(3*time.Second, func() { _ = c.Close() })
			}
			continue
		case 5:
			if c, err := net.Dial("tcp", s.w.addr); err == nil {
				_, _ = c.Write([]byte("this is no TLS " + payloadSecret))
				_ = c.Close()
			}
			continue
		}
		req, err := http.NewRequestWithContext(ctx, "POST", s.w.url+"/v1/events", bytes.NewReader(body))
		if err != nil {
			s.t.Error(err)
			return
		}
		for k, v := range header {
			req.Header.Set(k, v)
		}
		if res, err := s.client.Do(req); err == nil {
			raw, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			s.mu.Lock()
			s.replies.Write(raw)
			s.answered[kind]++
			s.mu.Unlock()
		}
		time.Sleep(time.Millisecond)
	}
}

// syncBuffer collects logs.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// While devices send and strangers do harm, the key is rotated, the certificate
// changes and the broker restarts. No accepted event is lost, no honest client
// sees anything but 202 and 503 with Retry-After - neither those that have the new key
// at once, nor those that keep the old one for as long as both count - and neither logs
// nor replies hold a key, a payload or an address from inside. Each change is waited
// for, not given a time: a busy machine is slower, and sees as much.
func TestGate_ChangesUnderLoadLoseNothing(t *testing.T) {
	dir, ca, certs := t.TempDir(), newAuthority(t), t.TempDir()
	bomb := gzipped(t, bytes.Repeat([]byte(" "), 50<<20))
	broker := stormBroker(t, dir, 0)
	_, portText, err := net.SplitHostPort(broker.ListenAddrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		t.Fatal(err)
	}
	cert, key := ca.write(certs, "first")
	logs := &syncBuffer{}
	w := setup{
		gate: fmt.Sprintf("    key_refresh: 50ms\n    timeouts: { ack: 3s }\n    tls: { cert_file: %q, key_file: %q }", cert,
			key),
		client: &tls.Config{RootCAs: ca.pool},
		log:    slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
		output: fmt.Sprintf(`event_log:
  seed_brokers: [ "127.0.0.1:%d" ]
  topic: raw-events
  dead_letter: { topic: dead-letter, processors: [ { dead_letter: { stage: ingest } } ] }`, port),
	}.start(t)
	s := &storm{t: t, w: w, accepted: map[string]bool{}, with: map[string]int{}, statuses: map[int]int{},
		names: map[string]bool{}, client: &http.Client{Timeout: 2 * time.Minute,
			Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.pool}, MaxIdleConnsPerHost: 100}}}
	s.key.Store(w.key)
	s.old.Store("")

	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	defer clients.Wait()
	defer cancel()
	for n := range 20 {
		clients.Go(func() { s.device(ctx, n) })
	}
	clients.Go(func() { s.stranger(ctx, bomb) })

	s.more("the first key", w.key, 1000)
	s.rotate()
	ca.write(certs, "second")
	s.until("the second certificate", func() bool {
		s.client.CloseIdleConnections() // some come back, and meet it: handshakes look once a second
		return s.names["second"]
	})
	broker.Close()
	refused := func() int { return s.statuses[http.StatusServiceUnavailable] }
	s.mu.Lock()
	before := refused()
	s.mu.Unlock()
	s.until("a refusal while the log is away", func() bool { return refused() > before })
	broker = stormBroker(t, dir, port)
	defer broker.Close()
	s.more("the log is back", s.key.Load().(string), 1000)
	s.until("answers to all harm that has some", func() bool {
		return !slices.Contains(s.answered[:4], 0)
	})
	cancel()
	clients.Wait()

	stored := s.stored(fmt.Sprintf("127.0.0.1:%d", port))
	lost := 0
	for id := range s.accepted {
		if stored[id] == 0 {
			lost++
		}
	}
	t.Logf("%d events accepted, replies %v", len(s.accepted), s.statuses)
	if lost > 0 {
		t.Errorf("%d of %d accepted events are lost", lost, len(s.accepted))
	}
	for name, text := range map[string]string{"logs": logs.String(), "replies": s.replies.String()} {
		for what, secret := range map[string]string{"a payload": payloadSecret, "a key": w.key,
			"the new key": s.key.Load().(string), "a key's secret": w.key[20:], "the broker's address": portText} {
			if what == "the broker's address" && name == "logs" {
				continue // operators need it
			}
			if i := strings.Index(text, secret); i >= 0 {
				t.Errorf("%s hold %s: %.200s", name, what, text[max(0, i-100):])
			}
		}
	}
	if logs.String() == "" || s.replies.Len() == 0 {
		t.Error("nothing was searched")
	}
}

// rotate gives half of the devices a new key, while the others go on with the old one,
// which ends when all have changed.
func (s *storm) rotate() {
	s.t.Helper()
	was := s.w.key
	keys, err := s.w.store.List(s.t.Context(), "acme")
	if err != nil || len(keys) != 1 {
		s.t.Fatal(keys, err)
	}
	text, _, err := s.w.store.Rotate(s.t.Context(), "acme", "", time.Hour, apikey.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	s.old.Store(was)
	s.key.Store(text)
	time.Sleep(500 * time.Millisecond) // at least: gates look at keys ten times meanwhile
	s.more("the new key", text, 500)
	s.more("the old key beside the new one", was, 500)
	s.old.Store("")
	s.underWay.Lock() // when nobody has the old one under way
	err = s.w.store.Revoke(s.t.Context(), keys[0].ID)
	s.underWay.Unlock()
	if err != nil {
		s.t.Fatal(err)
	}
	s.until("the old key ends", func() bool {
		req, err := http.NewRequest("POST", s.w.url+"/v1/events", strings.NewReader("[]"))
		if err != nil {
			s.t.Fatal(err)
		}
		req.Header.Set("X-API-Key", was)
		res, err := s.client.Do(req)
		if err != nil {
			s.t.Fatal(err)
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusUnauthorized
	})
}

// stored counts the event ids in the log. It reads on until it has all that were
// accepted, or nothing comes any more.
func (s *storm) stored(broker string) map[string]int {
	s.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.ConsumeTopics("raw-events"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		s.t.Fatal(err)
	}
	defer cl.Close()
	found, missing := map[string]int{}, maps.Clone(s.accepted)
	for len(missing) > 0 {
		ctx, cancel := context.WithTimeout(s.t.Context(), 15*time.Second)
		got := cl.PollFetches(ctx)
		cancel()
		if got.NumRecords() == 0 {
			break
		}
		got.EachRecord(func(r *kgo.Record) {
			var e struct {
				ID string `json:"event_id"`
			}
			if json.Unmarshal(r.Value, &e) == nil {
				found[e.ID]++
				delete(missing, e.ID)
			}
		})
	}
	return found
}
