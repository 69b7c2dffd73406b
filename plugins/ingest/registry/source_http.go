package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"weir/internal/platform/sqldb"
)

// httpSource reads a registry by Confluent's API: weir's own, Confluent's, Redpanda's or another.
// Versions do not change once registered, so a load takes two small requests while there is nothing
// new.
type httpSource struct {
	base   *url.URL
	apiKey string
	client *http.Client

	versions []int // the versions in docs
	latest   int   // the id of the last of them
	docs     []document
}

// answerMax bounds an answer of the registry.
const answerMax = 16 << 20

func newHTTPSource(rawURL, apiKey string) (*httpSource, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("opening schemas %q: expected http(s)://HOST[/PATH]", sqldb.Redact(rawURL))
	}
	return &httpSource{base: u, apiKey: apiKey, client: &http.Client{}}, nil
}

func (s *httpSource) load(ctx context.Context, subject string) ([]document, error) {
	var versions []int
	if err := s.get(ctx, &versions, subject, "versions"); err != nil {
		return nil, err
	}
	if len(versions) == 0 {
		return nil, errNoSchemas
	}
	slices.Sort(versions)
	var last struct {
		ID int `json:"id"`
	}
	if err := s.get(ctx, &last, subject, "versions", strconv.Itoa(versions[len(versions)-1])); err != nil {
		return nil, err
	}
	if slices.Equal(versions, s.versions) && last.ID == s.latest {
		return s.docs, nil
	}
	docs := make([]document, len(versions))
	for i, n := range versions {
		_, text, references, err := s.look(ctx, subject, n)
		if err != nil {
			return nil, err
		}
		if text, err = bundled(ctx, text, references, s.look); err != nil {
			return nil, fmt.Errorf("reading version %d of %s: %w", n, subject, err)
		}
		docs[i] = document{Version: n, Schema: text}
	}
	s.versions, s.latest, s.docs = versions, last.ID, docs
	return docs, nil
}

// look is a lookup that also finds softly deleted versions, because another may refer to them.
func (s *httpSource) look(ctx context.Context, subject string, version int) (int, string, []Reference, error) {
	var v struct {
		Schema     string      `json:"schema"`
		References []Reference `json:"references"`
	}
	err := s.ask(ctx, http.MethodGet, nil, &v, url.Values{"deleted": {"true"}}, "subjects", subject, "versions",
		strconv.Itoa(version))
	return version, v.Schema, v.References, err
}

// answerError is an answer other than 200.
type answerError struct {
	url     string
	status  int
	message string
}

func (e *answerError) Error() string {
	return fmt.Sprintf("asking the schema registry: %s answered %d%s", e.url, e.status, e.message)
}

// get reads /subjects/SUBJECT/….
func (s *httpSource) get(ctx context.Context, into any, subject string, path ...string) error {
	return s.ask(ctx, http.MethodGet, nil, into, nil, append([]string{"subjects", subject}, path...)...)
}

// ask sends one request and decodes its answer into into, unless that is nil.
func (s *httpSource) ask(ctx context.Context, method string, body []byte, into any, query url.Values,
	path ...string) error {
	u := *s.base
	u.User = nil
	for i, p := range path {
		path[i] = url.PathEscape(p)
	}
	at := u.JoinPath(path...)
	at.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, at.String(), bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("asking the schema registry: %w", err)
	}
	req.Header.Set("Accept", registryMediaType+", application/json")
	if body != nil {
		req.Header.Set("Content-Type", registryMediaType)
	}
	if p, ok := s.base.User.Password(); ok {
		req.SetBasicAuth(s.base.User.Username(), p)
	}
	if s.apiKey != "" {
		req.Header.Set("Authorization", "Bearer "+s.apiKey)
	}
	res, err := s.client.Do(req)
	if err != nil {
		return fmt.Errorf("asking the schema registry: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(res.Body, answerMax))
	if err != nil {
		return fmt.Errorf("asking the schema registry: reading %s: %w", at.Redacted(), err)
	}
	if res.StatusCode != http.StatusOK {
		var e struct {
			Code    int    `json:"error_code"`
			Message string `json:"message"`
		}
		switch err := json.Unmarshal(raw, &e); {
		case err == nil && e.Code == 40401:
			return fmt.Errorf("asking the schema registry: %s: %w", at.Redacted(), errNoSchemas)
		case err == nil && e.Message != "":
			return &answerError{at.Redacted(), res.StatusCode, ": " + e.Message}
		}
		return &answerError{at.Redacted(), res.StatusCode, ""}
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("asking the schema registry: reading %s: %w", at.Redacted(), err)
	}
	return nil
}

func (s *httpSource) close() { s.client.CloseIdleConnections() }
