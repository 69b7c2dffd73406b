package gate

import (
	"bytes"
	"net/http"
	"testing"
)

// discard acknowledges at once and keeps nothing.
func (s *sink) forget() { s.set(func(s *sink) { s.silent = true }) }

// The whole way over HTTP on loopback to an output that only acknowledges; the
// client's cost is in it.
func BenchmarkRequest(b *testing.B) {
	for name, n := range map[string]int{"100 events": 100, "1 event": 1} {
		b.Run(name, func(b *testing.B) {
			w := newWorld(b, "")
			w.sink.forget()
			body := batchBody(n, ",", "[", "]")
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
			b.ReportAllocs()
			b.SetParallelism(16)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					req, err := http.NewRequest("POST", w.url+"/v1/events", bytes.NewReader(body))
					if err != nil {
						b.Fatal(err)
					}
					req.Header.Set("X-API-Key", w.key)
					res, err := client.Do(req)
					if err != nil {
						b.Fatal(err)
					}
					var buf [16 << 10]byte
					for err == nil {
						_, err = res.Body.Read(buf[:])
					}
					_ = res.Body.Close()
					if res.StatusCode != 202 {
						b.Fatalf("status %d", res.StatusCode)
					}
				}
			})
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/event")
		})
	}
}
