package httpx

import (
	"fmt"
	"net/http"
	"time"

	"weir/internal/platform/text"
)

// Events is a response of server-sent events, each with a JSON body. It must not be used concurrently.
type Events struct {
	w       http.ResponseWriter
	control *http.ResponseController
	id      int64
}

// Stream starts a response of events that is neither cached nor buffered by proxies.
func Stream(w http.ResponseWriter) (*Events, error) {
	s := &Events{w: w, control: http.NewResponseController(w)}
	// The deadline for reading the request would otherwise end the response.
	_ = s.control.SetReadDeadline(time.Time{}) // fails only for writers without deadlines, as in tests
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	return s, s.write([]byte(": weir\n\n"))
}

// Send sends one event. An error means that the client is gone or cannot be written to.
func (s *Events) Send(name string, body any) error {
	raw, err := text.JSON(body)
	if err != nil {
		return fmt.Errorf("encoding an event: %w", err)
	}
	return s.SendRaw(name, raw)
}

// SendRaw sends one event whose body is JSON on a single line.
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
