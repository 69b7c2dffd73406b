// Package playback answers HTTP requests with the recorded answers of another implementation.
package playback

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
)

// Recording is a list of requests to a server, in order, with its answers.
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

// Server plays a recording. A request that was recorded several times gets the answers in order, and then the last
// one again. It is safe for concurrent use.
type Server struct {
	mu      sync.Mutex
	answers map[string][]Exchange
	unknown []string
}

// NewServer returns a Server at the beginning of a recording.
func NewServer(r Recording) *Server {
	s := &Server{answers: map[string][]Exchange{}}
	for _, e := range r.Exchanges {
		s.answers[e.key()] = append(s.answers[e.key()], e)
	}
	return s
}

func (e Exchange) key() string { return e.Method + " " + e.Path + "\n" + e.Body }

// Unknown returns the requests that were not in the recording.
func (s *Server) Unknown() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.unknown...)
}

// End skips to the last answer of each request.
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
		return // the client is gone
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
