package httpx

import (
	"fmt"
	"net/http"
	"time"

	"weir/internal/platform/text"
)

// Events is an answer that goes on: server-sent events, each a body as JSON. It is
// for one goroutine.
type Events struct {
	w       http.ResponseWriter
	control *http.ResponseController
	id      int64
}

// Stream begins an answer of events, which no cache keeps and no proxy may collect
// before it hands them on.
func Stream(w http.ResponseWriter) (*Events, error) {
	s := &Events{w: w, control: http.NewResponseController(w)}
	// The time for reading a request is over before an answer without end is.
	_ = s.control.SetReadDeadline(time.Time{}) // a writer without deadlines, as in tests, has none
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	return s, s.write([]byte(": weir\n\n"))
}

// Send sends one event. An error says that the client has gone, or takes nothing.
func (s *Events) Send(name string, body any) error {
	raw, err := text.JSON(body)
	if err != nil {
		return fmt.Errorf("encoding an event: %w", err)
	}
	return s.SendRaw(name, raw)
}

// SendRaw sends one event whose body is JSON already, on one line.
func (s *Events) SendRaw(name string, raw []byte) error {
	s.id++
	return s.write(fmt.Appendf(nil, "id: %d\nevent: %s\ndata: %s\n\n", s.id, name, raw))
}

func (s *Events) write(raw []byte) error {
	if _, err := s.w.Write(raw); err != nil {
		return err
	}
	return s.control.Flush()
}
