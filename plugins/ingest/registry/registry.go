package registry

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode"

	"weir/internal/platform/rawjson"
	"weir/internal/platform/schemadoc"
	"weir/internal/platform/sqldb"
	"weir/internal/platform/text"
	"weir/schemas"
)

// keywordMajor is weir's keyword for a version that breaks compatibility on purpose: only versions
// with the same major (1 if the keyword is absent) must be compatible with each other.
const keywordMajor = "x-weir-major"

// Registry keeps schemas by subject and version, and refuses versions that are
// not compatible with the earlier ones. It is safe for concurrent use, also by
// several processes on one store. What a method has returned without an error
// is committed.
type Registry struct {
	store registryStore
}

// Open creates the tables in the store if they are missing, and registers the shipped schemas under
// subjects that have never had any. The caller keeps ownership of db.
func Open(ctx context.Context, db *sqldb.DB) (*Registry, error) {
	if err := db.Migrate(ctx, "schema", migrations()); err != nil {
		return nil, err
	}
	r := &Registry{store: registryStore{db}}
	if err := r.seed(ctx); err != nil {
		return nil, fmt.Errorf("seeding the schema registry: %w", err)
	}
	return r, nil
}

// apiError is an error with the status and code that clients of the API expect.
type apiError struct {
	status, code int
	message      string
}

func (e *apiError) Error() string { return e.message }

func fails(status, code int, format string, args ...any) error {
	return &apiError{status, code, fmt.Sprintf(format, args...)}
}

func subjectNotFound(subject string) error {
	return fails(http.StatusNotFound, 40401, "Subject '%s' not found.", subject)
}

func versionNotFound(version int) error {
	return fails(http.StatusNotFound, 40402, "Version %d not found.", version)
}

func schemaNotFound() error { return fails(http.StatusNotFound, 40403, "Schema not found") }

// submission is a schema as a client sends it.
type submission struct {
	Schema     string      `json:"schema"`
	SchemaType string      `json:"schemaType"`
	References []Reference `json:"references,omitempty"`
	ID         int         `json:"id,omitempty"`
	Version    int         `json:"version,omitempty"`

	canonical string
	text      string // with all that it refers to
	compiled  *Schema
	major     int
}

// check checks the schema and looks up what it refers to. A reference to the latest version becomes
// one to that version's number.
func (s *submission) check(ctx context.Context, subject string, look lookup) error {
	invalid := func(format string, args ...any) error {
		return fails(http.StatusUnprocessableEntity, 42201, "Invalid schema: "+format, args...)
	}
	switch {
	case s.SchemaType != "JSON":
		kind := s.SchemaType
		if kind == "" {
			kind = "AVRO (the default)"
		}
		return invalid("schemaType is %s, and this registry holds JSON", kind)
	}
	s.Schema = string(text.WithoutBOM([]byte(s.Schema)))
	if err := rawjson.Document([]byte(s.Schema)); err != nil {
		return invalid("%v", err)
	}
	found, err := follow(ctx, s.References, look)
	if _, api := isAPIError(err); err != nil && !api {
		return err
	} else if err != nil {
		return invalid("%v", err)
	}
	for i, r := range found {
		s.References[i].Version = r.Version
	}
	if s.text, err = bundle(s.Schema, found); err != nil {
		return invalid("%v", err)
	}
	raw := []byte(s.text)
	if err := schemadoc.Check(raw); err != nil {
		return invalid("%v", err)
	}
	if s.compiled, err = Compile(subject, 1, raw); err != nil {
		return invalid("%v", err)
	}
	if err := schemadoc.Weigh(s.compiled.Library); err != nil {
		return invalid("%v", err)
	}
	if s.major, err = majorOf(raw); err != nil {
		return invalid("%v", err)
	}
	doc, err := schemadoc.Decode([]byte(s.Schema))
	if err != nil {
		return invalid("%v", err)
	}
	s.canonical = schemadoc.Canonical(doc)
	return nil
}

func majorOf(raw []byte) (int, error) {
	if len(raw) == 0 || raw[rawjson.Space(raw, 0)] != '{' {
		return 1, nil
	}
	own := struct {
		Major int `json:"x-weir-major"`
	}{1}
	if err := json.Unmarshal(raw, &own); err != nil || own.Major < 1 {
		return 0, fmt.Errorf("keyword %s: expected a whole number from 1 on", keywordMajor)
	}
	return own.Major, nil
}

func (s *submission) hash() string {
	sum := sha256.Sum256([]byte(s.canonical + asReferences(s.References)))
	return hex.EncodeToString(sum[:])
}

func checkSubject(subject string) error {
	if subject == "" || len(subject) > 255 || strings.ContainsFunc(subject, unicode.IsControl) {
		return fails(http.StatusUnprocessableEntity, 42208, "The specified subject '%s' is not a valid subject.",
			text.Shorten(subject))
	}
	return nil
}

// register adds a version to a subject, or returns the equal one that exists. It refuses a version
// that is not compatible by the subject's level and policy. When it returns nil, the version is
// committed.
func (r *Registry) register(ctx context.Context, subject string, s submission) (registered, error) {
	if err := checkSubject(subject); err != nil {
		return registered{}, err
	}
	if err := s.check(ctx, subject, lookIn(r.store.db, withoutDeleted)); err != nil {
		return registered{}, err
	}
	var out registered
	err := r.store.write(ctx, func(tx *sql.Tx) error {
		for _, ref := range s.References { // one may have been deleted since check
			if _, _, _, err := lookIn(tx, withoutDeleted)(ctx, ref.Subject, ref.Version); err != nil {
				return err
			}
		}
		set, err := effective(ctx, tx, subject)
		if err != nil {
			return err
		}
		if set.readonly() {
			return fails(http.StatusUnprocessableEntity, 42205, "Subject %s is in read-only mode", subject)
		}
		importing := set.Mode == modeImport
		if s.ID > 0 && !importing {
			return fails(http.StatusUnprocessableEntity, 42205, "Subject %s is not in import mode", subject)
		}
		versions, err := versionsOf(ctx, tx, subject, withDeleted)
		if err != nil {
			return err
		}
		next := 1
		if n := len(versions); n > 0 {
			next = versions[n-1].Version + 1
		}
		hash := s.hash()
		for _, v := range versions {
			if v.hash == hash && !v.deleted && (s.ID <= 0 || s.ID == v.ID) {
				out = v.registered
				return nil
			}
		}
		if !importing {
			if s.Version > 0 && s.Version != next {
				return fails(http.StatusUnprocessableEntity, 42201,
					"Invalid schema: version %d is not one more than the previous version, but only %d is", s.Version, next)
			}
			broken, err := held(ctx, tx, set, s, versions)
			if err != nil {
				return err
			}
			if len(broken) > 0 {
				return fails(http.StatusConflict, 409, "Schema being registered is incompatible with an earlier schema for "+
					"subject %q, details: %s", subject, strings.Join(broken, "; "))
			}
			var earlier []string
			for _, v := range versions {
				if !v.deleted {
					earlier = append(earlier, v.Schema)
				}
			}
			if bad := append(s.compiled.problems(), s.compiled.unnamed(earlier)...); len(bad) > 0 {
				return fails(http.StatusUnprocessableEntity, 42201, "Invalid schema: it contradicts what every event must be: %s",
					inWords(bad))
			}
		}
		out, err = insert(ctx, tx, subject, s, hash, versions)
		return err
	})
	return out, err
}

// held returns what breaks the compatibility that the subject's settings ask for.
func held(ctx context.Context, q querier, set settings, s submission, versions []storedVersion) (messages []string,
	err error) {
	var earlier [][]byte
	for _, v := range versions {
		if major, err := majorOf([]byte(v.Schema)); !v.deleted && err == nil && major == s.major {
			text, err := v.text(ctx, q)
			if err != nil {
				return nil, err
			}
			earlier = append(earlier, []byte(text))
		}
	}
	highest := s.major
	for _, v := range versions {
		if major, err := majorOf([]byte(v.Schema)); err == nil {
			highest = max(highest, major)
		}
	}
	return breaks(set, s, earlier, highest)
}

// onPurpose returns what a new major breaks, compared with the last version of an earlier one.
func onPurpose(ctx context.Context, q querier, set settings, s submission, versions []storedVersion) (messages []string,
	err error) {
	if len(versions) == 0 {
		return nil, nil
	}
	last := versions[len(versions)-1]
	major, err := majorOf([]byte(last.Schema))
	if err != nil || major >= s.major {
		return nil, err
	}
	text, err := last.text(ctx, q)
	if err != nil {
		return nil, err
	}
	found, err := set.Level.Check(set.Policy, []byte(s.text), [][]byte{[]byte(text)})
	for _, d := range found {
		messages = append(messages, fmt.Sprintf("on purpose, by %s %d after %d: %s", keywordMajor, s.major, major, d))
	}
	return messages, err
}

func breaks(set settings, s submission, earlier [][]byte, highest int) (messages []string, err error) {
	found, err := set.Level.Check(set.Policy, []byte(s.text), earlier)
	if err != nil {
		return nil, fails(http.StatusUnprocessableEntity, 42201, "Invalid schema: %v", err)
	}
	for _, d := range found {
		messages = append(messages, d.String())
	}
	if len(found) > 0 {
		messages = append(messages, fmt.Sprintf("checked %s by the %s policy; a break on purpose is a new major: raise %s "+
			"above %d", set.Level, set.Policy, keywordMajor, highest))
	}
	return messages, nil
}

// seed registers the shipped schemas under subjects that have never had any.
func (r *Registry) seed(ctx context.Context) error {
	return r.store.write(ctx, func(tx *sql.Tx) error {
		subjects, err := shippedSubjects(schemas.FS())
		if err != nil {
			return err
		}
		for _, subject := range slices.Sorted(maps.Keys(subjects)) {
			versions, err := versionsOf(ctx, tx, subject, withDeleted)
			if err != nil {
				return err
			}
			if len(versions) > 0 {
				continue
			}
			for _, d := range subjects[subject] {
				s := submission{Schema: d.Schema, SchemaType: "JSON", Version: d.Version}
				if err := s.check(ctx, subject, lookIn(tx, withoutDeleted)); err != nil {
					return fmt.Errorf("%s/%d: %w", subject, d.Version, err)
				}
				added, err := insert(ctx, tx, subject, s, s.hash(), versions)
				if err != nil {
					return fmt.Errorf("%s/%d: %w", subject, d.Version, err)
				}
				versions = append(versions, storedVersion{registered: added, hash: s.hash()})
			}
		}
		return nil
	})
}

func isAPIError(err error) (*apiError, bool) {
	var e *apiError
	return e, errors.As(err, &e)
}
