package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"weir/internal/platform/sqldb"
	"weir/plugins/ingest/registry/compat"
)

// Place is where a registry is: file://DIR, sqlite://, postgres:// or http(s)://.
type Place struct {
	URL    string
	APIKey string // for http
}

// Candidate is a schema that is not registered yet.
type Candidate struct {
	Subject string
	Text    []byte
	Against string        // number of a version, "latest", or "all"
	Level   compat.Level  // "": the subject's
	Policy  compat.Policy // "": the subject's

	References []Reference // to schemas at the same place
}

// Report tells what registering a candidate would result in.
type Report struct {
	Subject     string              `json:"subject"`
	Level       compat.Level        `json:"compatibility"`
	Policy      compat.Policy       `json:"policy"`
	Against     []int               `json:"against"`
	Differences []compat.Difference `json:"differences"` // that break compatibility
	Major       int                 `json:"major"`       // of the candidate
	// OtherMajor is the major of what it was compared with, if that is another; such versions need
	// not be compatible.
	OtherMajor int       `json:"other_major"`
	Problems   []Problem `json:"problems"` // where it contradicts what every event must be
	Compatible bool      `json:"compatible"`
	Unready    []string  `json:"unready"` // consumers that have not declared the next version

	Text []byte `json:"-"` // the candidate with the schemas that it refers to
}

// Check compares a candidate with the versions at a place.
func Check(ctx context.Context, place Place, c Candidate) (*Report, error) {
	s := submission{Schema: string(c.Text), SchemaType: "JSON", References: c.References}
	docs, set, readers, err := place.load(ctx, c.Subject, func(look lookup) error { return s.check(ctx, c.Subject, look) })
	if err != nil {
		return nil, err
	}
	set = settings{Level: c.Level, Policy: c.Policy}.or(set)
	next := docs[len(docs)-1].Version + 1
	docs, err = against(docs, c.Against, s.major)
	if err != nil {
		return nil, fmt.Errorf("checking a candidate for %s: %w", c.Subject, err)
	}
	level := set.Level
	if c.Against == "all" && level != compat.LevelNone && !strings.HasSuffix(string(level), "_TRANSITIVE") {
		level += "_TRANSITIVE"
	}
	r := &Report{Subject: c.Subject, Level: level, Policy: set.Policy, Unready: unready(readers, c.Subject, next),
		Text: []byte(s.text)}
	var texts [][]byte
	var earlier []string
	r.Major = s.major
	sameMajor := false
	for _, d := range docs {
		r.Against = append(r.Against, d.Version)
		texts, earlier = append(texts, []byte(d.Schema)), append(earlier, d.Schema)
		major, err := majorOf([]byte(d.Schema))
		if err != nil {
			return nil, fmt.Errorf("reading %s/%d: %w", c.Subject, d.Version, err)
		}
		sameMajor = sameMajor || major == s.major
		if major != s.major {
			r.OtherMajor = major
		}
	}
	if r.Differences, err = level.Check(set.Policy, []byte(s.text), texts); err != nil {
		return nil, err
	}
	if sameMajor {
		r.OtherMajor = 0
	}
	r.Problems = append(s.compiled.problems(), s.compiled.unnamed(earlier)...)
	r.Compatible = (len(r.Differences) == 0 || !sameMajor) && len(r.Problems) == 0
	return r, nil
}

// against selects the versions to compare with. "latest" is the latest of the candidate's major,
// with which registering would compare it, or, for a new major, the latest of all.
func against(docs []document, which string, major int) ([]document, error) {
	switch which {
	case "all":
		return docs, nil
	case "", "latest":
		for i := len(docs) - 1; i >= 0; i-- {
			if of, err := majorOf([]byte(docs[i].Schema)); err == nil && of == major {
				return docs[i : i+1], nil
			}
		}
		return docs[len(docs)-1:], nil
	}
	n, err := strconv.Atoi(which)
	if err != nil {
		return nil, fmt.Errorf(`version %q is not a number, "latest" or "all"`, which)
	}
	for _, d := range docs {
		if d.Version == n {
			return []document{d}, nil
		}
	}
	return nil, fmt.Errorf("there is no version %d", n)
}

// LoadSet loads and compiles the versions of a subject at a place.
func LoadSet(ctx context.Context, place Place, subject string) (*Set, error) {
	docs, _, _, err := place.load(ctx, subject, nil)
	if err != nil {
		return nil, err
	}
	var all []*Schema
	for _, d := range docs {
		s, err := Compile(subject, d.Version, []byte(d.Schema))
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return NewSet(subject, all), nil
}

// load reads the versions of a subject, its settings, and the consumers that have declared which
// versions they can read. While the place is open, it calls also with a lookup of versions of any
// subject.
func (p Place) load(ctx context.Context, subject string, also func(lookup) error) (docs []document, set settings,
	readers []consumer, err error) {
	set = serverDefaults()
	if also == nil {
		also = func(lookup) error { return nil }
	}
	scheme, _, _ := strings.Cut(p.URL, "://")
	switch scheme {
	case "file":
		var files fileSource
		if files, err = openFiles(p.URL); err != nil {
			return nil, set, nil, err
		}
		if err := also(nowhere); err != nil {
			return nil, set, nil, err
		}
		docs, err = files.load(ctx, subject)
	case "http", "https":
		var s *httpSource
		if s, err = newHTTPSource(p.URL, p.APIKey); err != nil {
			return nil, set, nil, err
		}
		defer s.close()
		if err := also(s.look); err != nil {
			return nil, set, nil, err
		}
		if docs, err = s.load(ctx, subject); err == nil {
			if set, err = s.settings(ctx, subject); err == nil {
				readers, err = s.consumers(ctx)
			}
		}
	default:
		var db *sqldb.DB
		if db, err = sqldb.Open(ctx, p.URL); err != nil {
			return nil, set, nil, err
		}
		defer func() { err = errors.Join(err, db.Close()) }()
		var r *Registry
		if r, err = Open(ctx, db); err != nil {
			return nil, set, nil, err
		}
		if err := also(lookIn(db, withoutDeleted)); err != nil {
			return nil, set, nil, err
		}
		if docs, err = (&sqlSource{registry: r}).load(ctx, subject); err == nil {
			if set, err = effective(ctx, db, subject); err == nil {
				readers, err = consumers(ctx, db)
			}
		}
	}
	if err != nil {
		return nil, set, nil, fmt.Errorf("reading the versions of %s at %s: %w", subject, sqldb.Redact(p.URL), err)
	}
	return docs, set, readers, nil
}

// consumers asks for the declared consumers. Other registries than weir's have none.
func (s *httpSource) consumers(ctx context.Context) (all []consumer, err error) {
	err = s.ask(ctx, http.MethodGet, nil, &all, nil, "consumers")
	var e *answerError
	if errors.As(err, &e) && e.status == http.StatusNotFound {
		return nil, nil
	}
	return all, err
}

// settings asks for the settings of a subject. A registry without policies is taken as strict.
func (s *httpSource) settings(ctx context.Context, subject string) (settings, error) {
	var c struct {
		Level  string `json:"compatibilityLevel"`
		Policy string `json:"policy"`
	}
	if err := s.ask(ctx, http.MethodGet, nil, &c, url.Values{"defaultToGlobal": {"true"}}, "config", subject); err != nil {
		return settings{}, err
	}
	level, err := compat.ParseLevel(c.Level)
	if err != nil {
		return settings{}, err
	}
	if c.Policy == "" {
		return settings{Level: level, Policy: compat.PolicyStrict}, nil
	}
	policy, err := compat.ParsePolicy(c.Policy)
	return settings{Level: level, Policy: policy}, err
}

// RegisterAt registers a candidate at a place and returns its version.
func RegisterAt(ctx context.Context, place Place, c Candidate) (version int, err error) {
	s, subject := submission{Schema: string(c.Text), SchemaType: "JSON", References: c.References}, c.Subject
	scheme, _, _ := strings.Cut(place.URL, "://")
	switch scheme {
	case "http", "https":
		h, err := newHTTPSource(place.URL, place.APIKey)
		if err != nil {
			return 0, err
		}
		defer h.close()
		raw, err := json.Marshal(s)
		if err != nil {
			return 0, fmt.Errorf("encoding the schema: %w", err)
		}
		if err := h.ask(ctx, http.MethodPost, raw, nil, nil, "subjects", subject, "versions"); err != nil {
			return 0, err
		}
		var found registered
		// the answer of some registries to the first request does not have the version
		err = h.ask(ctx, http.MethodPost, raw, &found, nil, "subjects", subject)
		return found.Version, err
	case "file":
		return 0, fmt.Errorf("registering in %s: a folder takes files; put it there as vN.json", place.URL)
	}
	db, err := sqldb.Open(ctx, place.URL)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	r, err := Open(ctx, db)
	if err != nil {
		return 0, err
	}
	out, err := r.register(ctx, subject, s)
	return out.Version, err
}
