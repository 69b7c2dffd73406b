package simulate

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// What the instrument itself costs, since it shares its cores with what it
// measures: an event built, and an event sent to a server that only answers.

func BenchmarkBuild(b *testing.B) {
	conf := Config{URL: "http://127.0.0.1:1", Key: "k", Batch: 100, Format: JSON, Timeout: time.Second,
		Shares:   Shares{Duplicates: 0.01, Malformed: 0.01, Late: 0.01, ClockAhead: 0.01},
		Firmware: []Firmware{{"1.4.0", 1}, {"2.1.0", 2}, {"3.0.2", 1}}, Prefix: "sim"}
	w, err := newWorker(conf, workerPlan{of: 1, devices: 500, events: -1}, time.Now(), newTally(), newJournal(nil))
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	b.ReportAllocs()
	for range b.N / 100 {
		w.build(100, now)
	}
	b.ReportMetric(float64(len(w.body))/100, "bytes/event")
}

func BenchmarkSend(b *testing.B) {
	for _, batch := range []int{1, 100} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			url := answering(b, batch)
			b.ReportAllocs()
			b.ResetTimer()
			const connections = 4
			round := connections * batch // only full requests
			s, err := Run(context.Background(), Config{URL: url, Key: "k", Devices: 500,
				Events: int64((b.N + round - 1) / round * round), Batch: batch,
				Connections: connections, Format: JSON, Firmware: []Firmware{{"2.1.0", 1}}, Timeout: 5 * time.Second})
			if err != nil {
				b.Fatal(err)
			}
			if s.Accepted == 0 && b.N >= batch {
				b.Fatalf("nothing was accepted: %v %v", s.Err(), s.Codes)
			}
		})
	}
}

// answering is the cheapest server there can be: it reads a request and says
// that all of it was accepted.
func answering(b *testing.B, batch int) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	var verdicts []string
	for i := range batch {
		verdicts = append(verdicts, fmt.Sprintf(`{"index":%d,"event_id":"01234567-0123-4123-8123-012345678901","status":202}`,
			i))
	}
	body := fmt.Sprintf(`{"accepted":%d,"rejected":0,"events":[%s]}`, batch, strings.Join(verdicts, ","))
	answer := fmt.Appendf(nil, "HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		len(body), body)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				r := bufio.NewReaderSize(conn, 64<<10)
				for {
					req, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					if _, err := r.Discard(int(req.ContentLength)); err != nil {
						return
					}
					if _, err := conn.Write(answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return "http://" + l.Addr().String()
}
