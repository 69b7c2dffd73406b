package gate

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
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
	key      atomic.Value
	mu       sync.Mutex
	accepted map[string]bool
	statuses map[int]int
	replies  bytes.Buffer // of hostile requests
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

// device sends batches until ctx ends, each again until it is accepted.
func (s *storm) device(ctx context.Context, n int) {
	for seq := 0; ctx.Err() == nil; seq++ {
		ids, texts := []string{}, []string{}
		for i := range 10 {
			id := fmt.Sprintf("%08x-0000-4000-8000-%012x", n, seq*10+i)
			ids, texts = append(ids, id), append(texts, s.event(id))
		}
		body := "[" + strings.Join(texts, ",") + "]"
		for {
			status, after, ok := s.post(body)
			if !ok {
				return
			}
			if status == http.StatusAccepted {
				s.mu.Lock()
				for _, id := range ids {
					s.accepted[id] = true
				}
				s.mu.Unlock()
				break
			}
			time.Sleep(min(after, 300*time.Millisecond))
		}
	}
}

func (s *storm) post(body string) (status int, after time.Duration, ok bool) {
	req, err := http.NewRequest("POST", s.w.url+"/v1/events", strings.NewReader(body))
	if err != nil {
		s.t.Error(err)
		return 0, 0, false
	}
	req.Header.Set("X-API-Key", s.key.Load().(string))
	res, err := s.client.Do(req)
	if err != nil {
		s.t.Errorf("an honest client: %v", err)
		return 0, 0, false
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	s.mu.Lock()
	s.statuses[res.StatusCode]++
	s.mu.Unlock()
	seconds, err := strconv.Atoi(res.Header.Get("Retry-After"))
	switch {
	case res.StatusCode == http.StatusAccepted:
	case res.StatusCode != http.StatusServiceUnavailable || err != nil || seconds < 1:
		s.t.Errorf("status %d, Retry-After %q", res.StatusCode, res.Header.Get("Retry-After"))
		return 0, 0, false
	}
	return res.StatusCode, time.Duration(seconds) * time.Second, true
}

// stranger does harm until ctx ends.
func (s *storm) stranger(ctx context.Context) {
	bomb := gzipped(s.t, bytes.Repeat([]byte(" "), 50<<20))
	for ctx.Err() == nil {
		var body []byte
		header := map[string]string{"X-API-Key": s.key.Load().(string)}
		switch rand.IntN(6) {
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
// sees anything but 202 and 503 with Retry-After, and neither logs nor replies
// hold a key, a payload or an address from inside.
func TestGate_ChangesUnderLoadLoseNothing(t *testing.T) {
	dir, ca, certs := t.TempDir(), newAuthority(t), t.TempDir()
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
		gate:   fmt.Sprintf("    key_refresh: 50ms\n    tls: { cert_file: %q, key_file: %q }", cert, key),
		client: &tls.Config{RootCAs: ca.pool},
		log:    slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
		output: fmt.Sprintf(`event_log:
  seed_brokers: [ "127.0.0.1:%d" ]
  topic: raw-events
  dead_letter: { topic: dead-letter, processors: [ { dead_letter: { stage: ingest } } ] }`, port),
	}.start(t)
	s := &storm{t: t, w: w, accepted: map[string]bool{}, statuses: map[int]int{},
		client: &http.Client{Timeout: 20 * time.Second,
			Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.pool}, MaxIdleConnsPerHost: 100}}}
	s.key.Store(w.key)

	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for n := range 20 {
		clients.Go(func() { s.device(ctx, n) })
	}
	clients.Go(func() { s.stranger(ctx) })

	time.Sleep(500 * time.Millisecond)
	text, _, err := w.store.Rotate(t.Context(), "acme", "", 300*time.Millisecond, apikey.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.key.Store(text)
	time.Sleep(500 * time.Millisecond)
	ca.write(certs, "second")
	time.Sleep(1200 * time.Millisecond) // handshakes look once a second
	s.client.CloseIdleConnections()     // some come back and meet the new certificate
	time.Sleep(300 * time.Millisecond)
	broker.Close()
	time.Sleep(700 * time.Millisecond)
	broker = stormBroker(t, dir, port)
	defer broker.Close()
	time.Sleep(2 * time.Second)
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
	if lost > 0 || len(s.accepted) < 1000 {
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

// stored counts the event ids in the log.
func (s *storm) stored(broker string) map[string]int {
	s.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.ConsumeTopics("raw-events"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		s.t.Fatal(err)
	}
	defer cl.Close()
	found := map[string]int{}
	for {
		ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Second)
		got := cl.PollFetches(ctx)
		cancel()
		if got.NumRecords() == 0 {
			return found
		}
		got.EachRecord(func(r *kgo.Record) {
			var e struct {
				ID string `json:"event_id"`
			}
			if json.Unmarshal(r.Value, &e) == nil {
				found[e.ID]++
			}
		})
	}
}
