package gate

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/gorilla/websocket"

	"weir/plugins/apikey"
)

// wsWindow is how many messages of one connection may be on their way at once.
// Their verdicts come in the order of the messages; the events of two messages
// that are on their way together may be stored in any order.
const wsWindow = 8

const (
	wsWriteTimeout = 10 * time.Second
	wsCloseTimeout = time.Second
)

// serveStream is GET /v1/stream: a WebSocket on which each message is a body of
// POST /v1/events, in JSON, and is answered by one message: the verdicts, or a
// problem. While there is no room, the gate reads nothing.
func (g *gate) serveStream(w http.ResponseWriter, r *http.Request) int {
	if r.Method != http.MethodGet {
		return g.refuse(w, wrongMethod("GET"))
	}
	if g.isDraining() {
		return g.refuse(w, stopping())
	}
	text := apikey.FromRequest(r)
	key, err := g.checker.Check(r.Context(), text)
	if err != nil {
		return g.refuseKey(w, err)
	}
	if !key.Allows(apikey.Ingest) {
		return g.refuse(w, forbidden())
	}
	if !websocket.IsWebSocketUpgrade(r) {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "websocket")
		return g.refuse(w, &refusal{name: "upgrade-required", status: http.StatusUpgradeRequired, title: "This is a WebSocket",
			detail: "send events to /v1/events, or upgrade the connection"})
	}
	up := websocket.Upgrader{HandshakeTimeout: 5 * time.Second, ReadBufferSize: 4 << 10, WriteBufferSize: 4 << 10,
		Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
			g.refuse(w, &refusal{name: "bad-upgrade", status: status, title: "The connection cannot be upgraded", detail: reason.Error()})
		}}
	conn, err := up.Upgrade(w, r, nil)
	if err != nil {
		return http.StatusBadRequest // answered by Error above
	}
	if !g.streams.enter() {
		_ = conn.Close()
		return 0
	}
	defer g.streams.leave()
	(&stream{g: g, conn: conn, text: text, trace: traceparentOf(r), answers: make(chan chan answer, wsWindow)}).serve()
	return 0
}

// stream is one WebSocket. Its reader starts the work of each message, and its
// writer sends the answers in order.
type stream struct {
	g       *gate
	conn    *websocket.Conn
	text    string // the key
	trace   string
	answers chan chan answer // in the order of the messages
}

// answer is one message to the client. With a close code it is the last one.
type answer struct {
	body   []byte
	close  int
	reason string
}

func (s *stream) serve() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.write(ctx)
		cancel()
		_ = s.conn.Close() // ends the reader
	}()
	s.read(ctx)
	close(s.answers)
	<-done
}

func (s *stream) read(ctx context.Context) {
	idle := s.g.conf.timeouts.idle
	s.conn.SetReadLimit(int64(s.g.conf.limits.body))
	alive := func(string) error { return s.conn.SetReadDeadline(time.Now().Add(idle)) }
	s.conn.SetPongHandler(alive)
	_ = alive("")
	for {
		kind, body, err := s.conn.ReadMessage()
		if err != nil {
			return
		}
		if _ = alive(""); s.g.isDraining() {
			return
		}
		if kind != websocket.TextMessage && kind != websocket.BinaryMessage {
			continue
		}
		out := make(chan answer, 1)
		select {
		case s.answers <- out: // waits while the window is full
		case <-ctx.Done():
			return
		}
		taken := make(chan struct{}) // the next message is read when this one has room
		go func() { out <- s.handle(ctx, body, taken) }()
		select {
		case <-taken:
		case <-ctx.Done():
			return
		}
	}
}

// handle takes one message in, and says with taken when it has been admitted.
func (s *stream) handle(ctx context.Context, body []byte, taken chan<- struct{}) answer {
	start := time.Now()
	told := false
	tell := func() {
		if !told {
			told = true
			close(taken)
		}
	}
	defer tell()
	res, err := s.g.patiently(ctx, s.text, func(held *hold) (*request, error) {
		if ref := held.grow(len(body)); ref != nil {
			return nil, ref
		}
		r := &request{traceparent: s.trace, held: held, admitted: tell}
		return r, s.g.cut(r, body, form{})
	})
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
		if ref.name == stoppingName {
			a.close, a.reason = websocket.CloseGoingAway, "the gate is stopping"
		}
		return a
	case errors.Is(err, apikey.ErrUnknown):
		return answer{close: websocket.ClosePolicyViolation, reason: "the API key is no longer valid"}
	case errors.Is(err, errClientGone):
		return answer{close: websocket.CloseNormalClosure}
	}
	return answer{close: websocket.CloseTryAgainLater, reason: "the API key cannot be checked now"}
}

// write sends answers in order, and pings, until the last answer, an error, or
// the stop of the gate.
func (s *stream) write(ctx context.Context) {
	ping := time.NewTicker(s.g.conf.timeouts.idle / 3)
	defer ping.Stop()
	draining := s.g.draining
	for {
		select {
		case next, ok := <-s.answers:
			if !ok { // the client has left, or the gate stops
				if s.g.isDraining() {
					s.goodbye(websocket.CloseGoingAway, "the gate is stopping")
				}
				return
			}
			a := <-next
			if len(a.body) > 0 {
				_ = s.conn.SetWriteDeadline(time.Now().Add(wsWriteTimeout))
				if s.conn.WriteMessage(websocket.TextMessage, a.body) != nil {
					return
				}
			}
			if a.close != 0 {
				s.goodbye(a.close, a.reason)
				return
			}
		case <-ping.C:
			if s.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(wsWriteTimeout)) != nil {
				return
			}
		case <-draining:
			draining = nil // what is on its way is still answered
			_ = s.conn.SetReadDeadline(time.Now())
		}
	}
}

// goodbye says why the connection ends, and gives the client a moment to read it.
func (s *stream) goodbye(code int, reason string) {
	_ = s.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Now().Add(wsCloseTimeout))
}
