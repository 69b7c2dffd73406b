// Package playback answers HTTP requests as another implementation did when it
// was recorded.
package playback

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
)

// Recording is what a server was asked, in order, and how it answered.
type Recording struct {
	Of        string     `json:"of"` // the implementation and its version
	Licence   string     `json:"licence"`
	How       string     `json:"how"`
	Exchanges []Exchange `json:"exchanges"`
}

// Exchange is a request and its answer.
type Exchange struct {
	Method      string `json:"method"`
	Path        string `json:"path"` // with its query, below the server's base URL
	Body        string `json:"body,omitempty"`
	Status      int    `json:"status"`
	ContentType string `json:"content_type,omitempty"`
	Answer      string `json:"answer"`
}

// Read reads a recording.
func Read(path string) (Recording, error) {
	var r Recording
	raw, err := os.ReadFile(path)
	if err != nil {
		return r, fmt.Errorf("reading a recording: %w", err)
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		return r, fmt.Errorf("reading the recording %s: %w", path, err)
	}
	if len(r.Exchanges) == 0 {
		return r, fmt.Errorf("reading the recording %s: it is empty", path)
	}
	return r, nil
}

// Write writes a recording.
func (r Recording) Write(path string) error {
	raw, err := json.MarshalIndent(r, "", " ")
	if err == nil {
		err = os.WriteFile(path, append(raw, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("writing a recording: %w", err)
	}
	return nil
}

// Server plays a recording: a request that was made several times is answered
// in the order of then, and with the last answer from then on. It is safe for
// concurrent use.
type Server struct {
	mu      sync.Mutex
	answers map[string][]Exchange
	unknown []string
}

// NewServer plays a recording from its beginning.
func NewServer(r Recording) *Server {
	s := &Server{answers: map[string][]Exchange{}}
	for _, e := range r.Exchanges {
		s.answers[e.key()] = append(s.answers[e.key()], e)
	}
	return s
}

func (e Exchange) key() string { return e.Method + " " + e.Path + "\n" + e.Body }

// Unknown lists the requests that were never recorded.
func (s *Server) Unknown() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.unknown...)
}

// End goes to the last answer to each request.
func (s *Server) End() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, list := range s.answers {
		s.answers[key] = list[len(list)-1:]
	}
}

func (s *Server) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // who asked has gone
	}
	asked := Exchange{Method: req.Method, Path: req.URL.RequestURI(), Body: string(body)}
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.answers[asked.key()]
	if len(list) == 0 {
		s.unknown = append(s.unknown, asked.Method+" "+asked.Path)
		http.Error(w, "this was not recorded", http.StatusNotImplemented)
		return
	}
	if len(list) > 1 {
		s.answers[asked.key()] = list[1:]
	}
	if list[0].ContentType != "" {
		w.Header().Set("Content-Type", list[0].ContentType)
	}
	w.WriteHeader(list[0].Status)
	_, _ = io.WriteString(w, list[0].Answer)
}
