package consumer

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/tests/integration/secured"
)

// door is an address that leads to a log while it is open, and hangs up else.
func door(t *testing.T, to string) (address string, open *atomic.Bool) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	open = &atomic.Bool{}
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer from.Close()
				if !open.Load() {
					return
				}
				out, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer out.Close()
				go func() { _, _ = io.Copy(out, from) }()
				_, _ = io.Copy(from, out)
			}()
		}
	}()
	return l.Addr().String(), open
}

func TestLogInput_WaitsForItsBroker(t *testing.T) {
	b := newBench(t, 1)
	address, open := door(t, b.log.ListenAddrs()[0])
	t.Setenv("WEIR_BROKERS", address)
	in, err := newInput(parsed(t, "group: g\ntopics: [ events ]"), service.MockResources())
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Connect(t.Context()); err == nil || !strings.Contains(err.Error(), "reaching the log as group g") {
		t.Fatalf("no broker: %v", err)
	}
	if _, _, err := in.ReadBatch(t.Context()); err == nil {
		t.Error("reads without a connection")
	}
	open.Store(true)
	b.write(3, 0)
	if err := in.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if one := b.must(in); one.to == 0 {
		t.Error("reads nothing")
	}
	b.close(in)
	if err := in.Connect(t.Context()); err == nil {
		t.Error("connects after its end")
	}
}

func TestLogInput_ARefusalSaysWhatToCheck(t *testing.T) {
	log := secured.Start(t, kfake.SeedTopics(1, "events"))
	t.Setenv("WEIR_BROKERS", log.Address)
	t.Setenv("WEIR_KAFKA_TLS", "true")
	t.Setenv("WEIR_KAFKA_CA", log.CAFile)
	t.Setenv("WEIR_KAFKA_SASL", "SCRAM-SHA-512")
	t.Setenv("WEIR_KAFKA_USER", secured.User)
	for password, right := range map[string]bool{secured.Wrong: false, secured.Password: true} {
		t.Setenv("WEIR_KAFKA_PASSWORD", password)
		in, err := newInput(parsed(t, "group: g\ntopics: [ events ]"), service.MockResources())
		if err != nil {
			t.Fatal(err)
		}
		switch err := in.Connect(t.Context()); {
		case right && err != nil:
			t.Error(err)
		case !right && err == nil:
			t.Error("a wrong password is let in")
		case !right:
			secured.Refused(t, err.Error())
		}
		if err := in.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// An end while the brokers are away is bounded.
func TestLogInput_EndsWithoutItsBroker(t *testing.T) {
	b := newBench(t, 1)
	b.write(5, 0)
	in := b.join("")
	b.ack(b.must(in))
	b.log.Close()
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := in.Close(ctx); err != nil {
		t.Error(err)
	}
	t.Logf("the end took %s", time.Since(began))
}

// A topic that is not there is said, and read once it is.
func TestLogInput_WaitsForItsTopic(t *testing.T) {
	b := newBench(t, 1)
	var said bytes.Buffer
	var mu sync.Mutex
	env := service.NewEnvironment()
	if err := Register(env); err != nil {
		t.Fatal(err)
	}
	stream := env.NewStreamBuilder()
	stream.SetLogger(slog.New(slog.NewTextHandler(writer(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return said.Write(p)
	}), nil)))
	if err := stream.AddInputYAML("log_input: { group: g, topics: [ later ], wait: 10ms }"); err != nil {
		t.Fatal(err)
	}
	came := make(chan struct{})
	if err := stream.AddBatchConsumerFunc(func(context.Context, service.MessageBatch) error {
		close(came)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	s, err := stream.Build()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(t.Context()) }()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		mu.Lock()
		text := said.String()
		mu.Unlock()
		if strings.Contains(text, "topic later as group g: it is not there") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("said %q", text)
		}
	}
	if err := b.log.CreateTopic("later", 1, nil); err != nil {
		t.Fatal(err)
	}
	if err := b.client.ProduceSync(t.Context(), &kgo.Record{Topic: "later", Value: []byte("x")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-came:
	case <-time.After(2 * patience):
		t.Error("nothing came")
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	<-ended
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

func TestLogInput_WhatCannotBeReadIsNamed(t *testing.T) {
	t.Setenv("WEIR_BROKERS", "127.0.0.1:1")
	for yaml, says := range map[string]string{
		"group: ''\ntopics: [ a ]":                       "group: it is empty",
		"group: g\ntopics: [ ' , ' ]":                    "names no topic",
		"group: g\ntopics: [ a ]\nread_ahead: 0":         "read_ahead",
		"group: g\ntopics: [ a ]\nbatch: -1":             "batch",
		"group: g\ntopics: [ a ]\nwait: 0s":              "wait",
		"group: g\ntopics: [ a ]\nsession_timeout: 10ms": "session",
	} {
		if _, err := newInput(parsed(t, yaml), service.MockResources()); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", yaml, err)
		}
	}
	t.Setenv("WEIR_BROKERS", "")
	if _, err := newInput(parsed(t, "group: g\ntopics: [ a ]"), service.MockResources()); err == nil ||
		!strings.Contains(err.Error(), "WEIR_BROKERS") {
		t.Errorf("no broker: %v", err)
	}
}
