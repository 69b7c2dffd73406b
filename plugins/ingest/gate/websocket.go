package gate

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/gorilla/websocket"

	"weir/internal/control/apikey"
	"weir/internal/platform/httpx"
	"weir/plugins/ingest/gate/admission"
)

const (
	wsWriteTimeout = 10 * time.Second
	wsCloseTimeout = time.Second
)

// serveStream serves GET /v1/stream: a WebSocket on which each message is a JSON body as for POST
// /v1/events, and is answered by one message: the verdicts, or a problem. While there is no room,
// the gate reads nothing.
func (g *gate) serveStream(w http.ResponseWriter, r *http.Request) int {
	if r.Method != http.MethodGet {
		return g.refuse(w, wrongMethod("GET"))
	}
	if g.isDraining() {
		return g.refuse(w, stopping())
	}
	who := callerOf(w, r)
	if _, err := g.check(r.Context(), who); err != nil {
		return g.refuseFor(w, err)
	}
	if !websocket.IsWebSocketUpgrade(r) {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "websocket")
		return g.refuse(w, &refusal{name: "upgrade-required", status: http.StatusUpgradeRequired,
			title:  "This is a WebSocket",
			detail: "send events to /v1/events, or upgrade the connection"})
	}
	up := websocket.Upgrader{HandshakeTimeout: 5 * time.Second, ReadBufferSize: 4 << 10, WriteBufferSize: 4 << 10,
		Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
			g.refuse(w, &refusal{name: "bad-upgrade", status: status, title: "The connection cannot be upgraded",
				detail: reason.Error()})
		}}
	id := httpx.RequestIDOf(w)
	conn, err := up.Upgrade(w, r, http.Header{httpx.RequestID: {id}})
	if err != nil {
		return http.StatusBadRequest // answered by Error above
	}
	if !g.streams.enter() {
		_ = conn.Close()
		return 0
	}
	defer g.streams.leave()
	(&stream{g: g, conn: conn, who: who, trace: traceparentOf(r), ids: numbered{of: id}}).serve()
	return 0
}

// stream is one WebSocket.
type stream struct {
	g     *gate
	conn  *websocket.Conn
	who   caller
	trace string
	ids   numbered
}

// answer is one message to the client. With a close code it is the last one.
type answer struct {
	body   []byte
	close  int
	reason string
}

func (s *stream) serve() {
	done := make(chan struct{})
	defer func() { _ = s.conn.Close() }()
	defer close(done)
	go s.watch(done)
	s.conn.SetReadLimit(int64(s.g.conf.limits.body))
	s.conn.SetPongHandler(func(string) error { return s.alive() })
	_ = s.alive()
	relay(context.Background(), s.read, s.send)
	if s.g.isDraining() {
		s.goodbye(websocket.CloseGoingAway, "the gate is stopping")
	}
}

// alive extends the deadline for the client's next message, or pong.
func (s *stream) alive() error {
	return s.conn.SetReadDeadline(time.Now().Add(s.g.conf.timeouts.idle))
}

// watch sends pings, and ends the reading when the gate drains: requests in progress are still
// answered.
func (s *stream) watch(done <-chan struct{}) {
	ping := time.NewTicker(s.g.conf.timeouts.idle / 3)
	defer ping.Stop()
	for {
		select {
		case <-ping.C:
			// a client that has gone will not answer, and so misses its deadline
			_ = s.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(wsCloseTimeout))
		case <-s.g.draining:
			_ = s.conn.SetReadDeadline(time.Now())
			return
		case <-done:
			return
		}
	}
}

func (s *stream) read() (func(context.Context, func()) answer, bool) {
	_, body, err := s.conn.ReadMessage()
	if err != nil {
		return nil, false
	}
	if _ = s.alive(); s.g.isDraining() { // in this order: watch may have set the deadline before
		return nil, false
	}
	id := s.ids.next()
	return func(ctx context.Context, taken func()) answer { return s.handle(ctx, id, body, taken) }, true
}

// handle handles one message, and calls taken when it has room.
func (s *stream) handle(ctx context.Context, id string, body []byte, taken func()) answer {
	start := time.Now()
	span := s.g.following("message of /v1/stream", s.trace, id)
	res, err := s.g.patiently(ctx, s.who, func(held *admission.Hold) (*request, error) {
		if ref := full(held.Grow(len(body))); ref != nil {
			return nil, ref
		}
		r := &request{id: id, traceparent: span.begin(), held: held, admitted: taken}
		return r, s.g.cut(r, body, form{})
	})
	span.end(res, err)
	var ref *refusal
	var empty *emptyError
	switch {
	case err == nil:
		s.g.metrics.answered(res.status(), start)
		return answer{body: appendVerdicts(nil, res.items, res.rejected)}
	case errors.As(err, &empty):
		s.g.metrics.answered(http.StatusBadRequest, start)
		return answer{body: appendEmpty(nil, empty.detail)}
	case errors.As(err, &ref):
		s.g.metrics.refusals.Incr(1, ref.name)
		s.g.metrics.answered(ref.status, start)
		a := answer{body: ref.problem().JSON()}
		switch {
		case ref.name == stoppingName:
			a.close, a.reason = websocket.CloseGoingAway, "the gate is stopping"
		case ref.name == apikey.ReasonUnavailable:
			a = answer{close: websocket.CloseTryAgainLater, reason: "the API key cannot be checked now"}
		case ref.name == apikey.ReasonUnauthorized:
			a = answer{close: websocket.ClosePolicyViolation, reason: "the API key is no longer valid"}
		case ref.ofKey():
			a.close, a.reason = websocket.ClosePolicyViolation, "the API key may not send events"
		}
		return a
	}
	return answer{close: websocket.CloseNormalClosure} // the client has gone
}

// send writes one answer. After the last one, or when the client does not take it in time, it
// closes the connection, which also ends the reading.
func (s *stream) send(a answer) bool {
	if len(a.body) > 0 {
		_ = s.conn.SetWriteDeadline(time.Now().Add(wsWriteTimeout))
		if s.conn.WriteMessage(websocket.TextMessage, a.body) != nil {
			_ = s.conn.Close()
			return false
		}
	}
	if a.close == 0 {
		return true
	}
	s.goodbye(a.close, a.reason)
	_ = s.conn.Close()
	return false
}

// goodbye sends the reason for which the connection ends.
func (s *stream) goodbye(code int, reason string) {
	_ = s.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason),
		time.Now().Add(wsCloseTimeout))
}
