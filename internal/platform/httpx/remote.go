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

// API is a client of weir's administrative API.
type API struct {
	URL string // without a path
	Key string // an admin key
	// Client sends the requests; nil is http.DefaultClient. See Trusting and Pinned.
	Client *http.Client
}

// ErrAway says that the API did not answer or is temporarily unavailable: try again.
var ErrAway = errors.New("the api does not answer")

// Call sends a JSON body (none if send is nil) and decodes the answer. After ErrAway the request may or may not have
// been carried out; after a *Refusal it was not.
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
	defer func() { _ = resp.Body.Close() }() // the body was read; nothing to do about an error
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

// Refusal is the error of an answer with a status of 300 or more.
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
