package httpx

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	callMost   = 30 * time.Second
	answerMost = 16 << 20
)

// API is where a weir is administered, and with which key.
type API struct {
	URL string // without path
	Key string // an admin key
	// Client asks, nil for Go's own: Trusting and Pinned make others.
	Client *http.Client
}

// ErrAway says that the API did not answer, or not now: ask again.
var ErrAway = errors.New("the api does not answer")

// Call sends what is to be sent as JSON, nil for nothing, and reads the answer
// into another value. What was asked for may have been done when it fails with
// ErrAway; any other error says that it was not.
func (a API) Call(ctx context.Context, method, path string, send, into any) error {
	ctx, cancel := context.WithTimeout(ctx, callMost)
	defer cancel()
	var body io.Reader
	if send != nil {
		raw, err := json.Marshal(send)
		if err != nil {
			return fmt.Errorf("asking the api: %w", err)
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(a.URL, "/")+path, body)
	if err != nil {
		return fmt.Errorf("asking the api: %w", err)
	}
	req.Header.Set("X-API-Key", a.Key)
	req.Header.Set("Content-Type", "application/json")
	client := a.Client
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAway, err)
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	raw, err := io.ReadAll(io.LimitReader(resp.Body, answerMost))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAway, err)
	}
	if resp.StatusCode >= 300 {
		return refusal(resp.StatusCode, raw)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("reading the api's answer: %w", err)
	}
	return nil
}

// Refusal is an answer that says no.
type Refusal struct {
	Status int
	text   string
}

func (r *Refusal) Error() string { return r.text }

func refusal(status int, raw []byte) error {
	var p struct{ Title, Detail string }
	if json.Unmarshal(raw, &p) != nil {
		p.Title = http.StatusText(status)
	}
	err := &Refusal{status, fmt.Sprintf("the api answered %d: %s: %s", status, p.Title, p.Detail)}
	if status >= 500 {
		return fmt.Errorf("%w: %w", ErrAway, err)
	}
	return err
}
