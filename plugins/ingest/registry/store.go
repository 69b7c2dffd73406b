package registry

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"

	"weir/internal/platform/sqldb"
)

// migrations create the registry's tables: each text once, by its global id; the versions of
// subjects, which refer to texts; the references of texts; and settings, with the empty subject for
// the server.
func migrations() []sqldb.Migration {
	const tables = `
		CREATE TABLE weir_schema_text (id INTEGER PRIMARY KEY, hash TEXT NOT NULL, schema TEXT NOT NULL);
		CREATE INDEX weir_schema_text_hash ON weir_schema_text (hash);
		CREATE TABLE weir_schema_version (
			subject TEXT NOT NULL, version INTEGER NOT NULL, id INTEGER NOT NULL REFERENCES weir_schema_text (id),
			deleted INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (subject, version));
		CREATE TABLE weir_schema_setting (
			subject TEXT PRIMARY KEY, compatibility TEXT, policy TEXT, mode TEXT);`
	const declared = `CREATE TABLE weir_schema_consumer (name TEXT PRIMARY KEY, supports TEXT NOT NULL);`
	const referring = `
		CREATE TABLE weir_schema_reference (
			id INTEGER NOT NULL REFERENCES weir_schema_text (id), place INTEGER NOT NULL,
			name TEXT NOT NULL, subject TEXT NOT NULL, version INTEGER NOT NULL, PRIMARY KEY (id, place));
		CREATE INDEX weir_schema_reference_to ON weir_schema_reference (subject, version);`
	return []sqldb.Migration{{SQLite: tables, Postgres: tables}, {SQLite: declared, Postgres: declared},
		{SQLite: referring, Postgres: referring}}
}

type registryStore struct{ db *sqldb.DB }

// write runs f in a transaction; there is one at a time.
func (s registryStore) write(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("writing the schema registry: %w", err)
	}
	defer func() { _ = tx.Rollback() }()
	if s.db.Dialect == sqldb.Postgres { // SQLite's transactions lock when they begin
		if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock(7341128)`); err != nil {
			return fmt.Errorf("locking the schema registry: %w", err)
		}
	}
	if err := f(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("writing the schema registry: %w", err)
	}
	return nil
}

// querier is a store or a transaction on it.
type querier interface {
	sqldb.Querier
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// registered is a version in the form of the API.
type registered struct {
	Subject    string      `json:"subject"`
	Version    int         `json:"version"`
	ID         int         `json:"id"`
	SchemaType string      `json:"schemaType"`
	References []Reference `json:"references,omitempty"`
	Schema     string      `json:"schema"`
}

type storedVersion struct {
	registered
	hash    string
	deleted bool
}

// deletedFilter is a condition on whether versions were deleted softly.
type deletedFilter string

const (
	withoutDeleted deletedFilter = "v.deleted = 0"
	withDeleted    deletedFilter = "1 = 1"
	onlyDeleted    deletedFilter = "v.deleted = 1"
)

// versionsOf returns versions in the order of subject and number; the empty subject means all.
func versionsOf(ctx context.Context, q querier, subject string, filter deletedFilter) ([]storedVersion, error) {
	return versionsWhere(ctx, q, string(filter)+` AND ($1 = '' OR v.subject = $1)`, subject)
}

func versionsWhere(ctx context.Context, q querier, where string, args ...any) ([]storedVersion, error) {
	all, err := sqldb.All(ctx, q, func(row sqldb.Row) (storedVersion, error) {
		v := storedVersion{registered: registered{SchemaType: "JSON"}}
		var deleted int
		err := row.Scan(&v.Subject, &v.Version, &v.ID, &deleted, &v.hash, &v.Schema)
		v.deleted = deleted != 0
		return v, err
	}, `SELECT v.subject, v.version, v.id, v.deleted, t.hash, t.schema
		FROM weir_schema_version v JOIN weir_schema_text t ON t.id = v.id WHERE `+where+` ORDER BY v.subject, v.version`, args...)
	if err != nil {
		return nil, fmt.Errorf("reading the schema registry: %w", err)
	}
	references, err := referencesOf(ctx, q, `r.id IN (SELECT v.id FROM weir_schema_version v WHERE `+where+`)`, args...)
	if err != nil {
		return nil, err
	}
	for i := range all {
		all[i].References = references[all[i].ID]
	}
	return all, nil
}

// insert adds a version after those that the subject has, or with the number and id that an import
// names.
func insert(ctx context.Context, tx *sql.Tx, subject string, s submission, hash string,
	versions []storedVersion) (registered, error) {
	out := registered{Subject: subject, Version: s.Version, ID: s.ID, SchemaType: "JSON", References: s.References,
		Schema: s.Schema}
	if out.Version <= 0 {
		out.Version = 1
		if n := len(versions); n > 0 {
			out.Version = versions[n-1].Version + 1
		}
	}
	for _, v := range versions {
		if v.Version == out.Version {
			return out, fails(422, 42205, "Version %d of subject %s is taken", out.Version, subject)
		}
	}
	fresh, err := textID(ctx, tx, &out, hash)
	if err != nil {
		return out, err
	}
	if fresh {
		if _, err := tx.ExecContext(ctx, `INSERT INTO weir_schema_text (id, hash, schema) VALUES ($1, $2, $3)`, out.ID, hash,
			s.Schema); err != nil {
			return out, fmt.Errorf("writing schema %d: %w", out.ID, err)
		}
		if err := insertReferences(ctx, tx, out.ID, s.References); err != nil {
			return out, err
		}
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO weir_schema_version (subject, version, id) VALUES ($1, $2, $3)`, subject,
		out.Version, out.ID); err != nil {
		return out, fmt.Errorf("writing version %d of %s: %w", out.Version, subject, err)
	}
	return out, nil
}

// textID finds the id of a text, or gives it a new one (fresh). For an id, the text that was stored
// first is returned.
func textID(ctx context.Context, tx *sql.Tx, out *registered, hash string) (fresh bool, err error) {
	if out.ID > 0 {
		var have string
		err := tx.QueryRowContext(ctx, `SELECT hash FROM weir_schema_text WHERE id = $1`, out.ID).Scan(&have)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return true, nil
		case err != nil:
			return false, fmt.Errorf("reading schema %d: %w", out.ID, err)
		case have != hash:
			return false, fails(422, 42207, "Schema id %d is already in use for another schema", out.ID)
		}
		return false, nil
	}
	err = tx.QueryRowContext(ctx, `SELECT id, schema FROM weir_schema_text WHERE hash = $1 ORDER BY id LIMIT 1`,
		hash).Scan(&out.ID, &out.Schema)
	if err == nil || !errors.Is(err, sql.ErrNoRows) {
		return false, err
	}
	if err := tx.QueryRowContext(ctx, `SELECT coalesce(max(id), 0) + 1 FROM weir_schema_text`).Scan(&out.ID); err != nil {
		return false, fmt.Errorf("numbering a schema: %w", err)
	}
	return true, nil
}

// shippedSubjects reads SUBJECT/vN.json files, versions in order.
func shippedSubjects(files fs.FS) (map[string][]document, error) {
	names, err := fs.Glob(files, "*/*.json")
	if err != nil {
		return nil, err
	}
	subjects := map[string][]document{}
	for _, name := range names {
		m := versionFile().FindStringSubmatch(path.Base(name))
		if m == nil {
			continue
		}
		raw, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("reading shipped schema %s: %w", name, err)
		}
		n, err := strconv.Atoi(m[1])
		if err != nil {
			return nil, fmt.Errorf("reading shipped schema %s: %w", name, err)
		}
		subject := path.Dir(name)
		subjects[subject] = append(subjects[subject], document{Version: n, Schema: string(raw)})
	}
	for _, docs := range subjects {
		slices.SortFunc(docs, func(a, b document) int { return a.Version - b.Version })
	}
	return subjects, nil
}
