package api

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/control/auditlog"
	"weir/internal/platform/httpx"
)

func TestConfig_ListensPlainlyOnLoopbackAlone(t *testing.T) {
	for text, want := range map[string]string{
		"address: 127.0.0.1:0":                                       "",
		"address: '[::1]:0'":                                         "",
		"address: localhost:0":                                       "",
		"address: 0.0.0.0:0":                                         "allow_plain_http",
		"address: ':8090'":                                           "allow_plain_http",
		"address: '[::]:0'":                                          "allow_plain_http",
		"address: 10.1.2.3:0":                                        "allow_plain_http",
		"{ address: 0.0.0.0:0, allow_plain_http: true }":             "",
		"{ address: 0.0.0.0:0, tls: { cert_file: a } }":              "key_file",
		"{ address: 0.0.0.0:0, tls: { cert_file: a, key_file: b } }": "",
		"{ limits: { max_queries: 0 } }":                             "limits",
		"{ limits: { max_connections_per_address: 0 } }":             "",
		"{ timeouts: { write: 0s } }":                                "timeouts",
	} {
		if !strings.HasPrefix(text, "{") {
			text = "{ " + text + " }"
		}
		parsed, err := spec().ParseYAML(strings.Replace(text, "{", "{ control: 'sqlite://x', rollups: 'sqlite://y', ", 1),
			service.NewEnvironment())
		if err != nil {
			t.Fatal(text, err)
		}
		_, err = configFromParsed(parsed)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// A client that takes nothing ends with its timeout; one that is slow and takes
// what it is sent gets all of it, however long that is.
func TestPaced_EndsThoseWhoTakeNothingAlone(t *testing.T) {
	const timeout, size = 2 * time.Second, 24 << 20 // more than sockets hold
	ended := make(chan error, 4)
	s := httptest.NewServer(paced(timeout, nil, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, err := w.Write(make([]byte, size))
		ended <- err
	})))
	defer s.Close()
	ask := func() *bufio.Reader {
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if _, err := fmt.Fprint(c, "GET / HTTP/1.0\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		return bufio.NewReader(c)
	}
	ask() // and never reads
	select {
	case err := <-ended:
		if err == nil {
			t.Error("all was written to a client that reads nothing")
		}
	case <-time.After(30 * time.Second):
		t.Fatal("a client that reads nothing holds its connection")
	}
	began, slow, got := time.Now(), ask(), 0
	for {
		n, err := io.CopyN(io.Discard, slow, 4<<20)
		if got += int(n); err != nil {
			break
		}
		time.Sleep(timeout / 4)
	}
	if err := <-ended; err != nil || got < size {
		t.Errorf("a slow client got %d of %d bytes: %v", got, size, err)
	}
	if took := time.Since(began); took < timeout {
		t.Errorf("the answer took %s, which proves nothing", took)
	}
}

func TestQueries_AreBoundedByFleetAndInAll(t *testing.T) {
	refused := 0
	q := newQueries(3, 2, func(string) { refused++ })
	for i, c := range []struct {
		fleet string
		full  bool
	}{{"a", false}, {"a", false}, {"a", true}, {"b", false}, {"b", true}} {
		if full := q.enter(c.fleet); (full != "") != c.full {
			t.Errorf("%d: %q", i, full)
		}
	}
	w := httptest.NewRecorder()
	q.bounded(http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != 429 || w.Header().Get("Retry-After") == "" || refused != 1 || !strings.Contains(w.Body.String(),
		"ask again") {
		t.Errorf("%d %v %d %s", w.Code, w.Header(), refused, w.Body)
	}
	q.leave("a")
	q.leave("a")
	q.leave("b")
	if q.open != 0 || len(q.by) != 0 {
		t.Errorf("%d are open, of %v", q.open, q.by)
	}
	w = httptest.NewRecorder()
	q.bounded(http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != 404 || q.open != 0 {
		t.Errorf("with room: %d, %d open", w.Code, q.open)
	}
}

// Whoever was answered 503 says the id of the request, and the log has it.
func TestAPI_AFailureIsLoggedWithItsRequest(t *testing.T) {
	var said []string
	failed := func(r *http.Request, id string, status int, why error) {
		said = append(said, fmt.Sprint(r.URL.Path, " ", id, " ", status, " ", why))
	}
	for path, status := range map[string]int{"/a": 503, "/b": 404, "/c": 200} {
		w := httptest.NewRecorder()
		w.Header().Set(httpx.RequestID, "id-of"+path[1:])
		paced(time.Second, failed, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if status != 200 {
				httpx.Cause(w, errors.New("the disk is gone"))
				w.WriteHeader(status)
			}
			_, _ = w.Write([]byte("x"))
		})).ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != status {
			t.Errorf("%s: answered %d", path, w.Code)
		}
	}
	if got := strings.Join(said, ", "); got != "/a id-ofa 503 the disk is gone" {
		t.Errorf("the log says %q", got)
	}
}

// Why a store did not answer is in the log, once, and never in the answer; an act,
// whose answer waits for its entry in the audit log, is no exception.
func TestAPI_WhyItFailedIsInTheLogAlone(t *testing.T) {
	var why []error
	failed := func(_ *http.Request, _ string, _ int, err error) { why = append(why, err) }
	rec := &recorder{acts: make(chan pendingAct, 1), wait: time.Minute}
	cause := errors.New("dialing db-1: refused")
	h := paced(time.Second, failed, rec.audited(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		httpx.Unavailable(w, "the store of holds", cause)
		httpx.Cause(w, errors.New("what followed from it"))
	})))
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		why = nil
		done := make(chan auditlog.Act, 1)
		go func() {
			if method == http.MethodPost {
				p := <-rec.acts
				p.kept <- nil
				done <- p.act
			}
		}()
		w := httptest.NewRecorder()
		w.Header().Set(httpx.RequestID, "r-1")
		h.ServeHTTP(w, httptest.NewRequest(method, "/v1/holds", nil))
		if len(why) != 1 || !errors.Is(why[0], cause) {
			t.Errorf("%s: the log is told %v", method, why)
		}
		if body := w.Body.String(); w.Code != 503 || strings.Contains(body, "db-1") {
			t.Errorf("%s: answered %d %s", method, w.Code, body)
		}
		if method == http.MethodPost {
			if a := <-done; a.Detail[detailRequest] != "r-1" {
				t.Errorf("the audit log says %v", a.Detail)
			}
		}
	}
}
