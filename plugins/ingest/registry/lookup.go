package registry

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"

	"weir/internal/platform/sqldb"
	"weir/internal/platform/text"
)

// lookIn returns a lookup in a store; version -1 is the latest.
func lookIn(q querier, filter deletedFilter) lookup {
	return func(ctx context.Context, subject string, version int) (int, string, []Reference, error) {
		var number, id int
		var schema string
		err := q.QueryRowContext(ctx, `SELECT v.version, v.id, t.schema FROM weir_schema_version v JOIN weir_schema_text t ON t.id = v.id
			WHERE `+string(filter)+` AND v.subject = $1 AND (v.version = $2 OR $2 = -1) ORDER BY v.version DESC LIMIT 1`, subject, version).Scan(&number, &id, &schema)
		if errors.Is(err, sql.ErrNoRows) {
			return 0, "", nil, fails(http.StatusUnprocessableEntity, 42201,
				"No schema reference found for subject %q and version %d", text.Shorten(subject), version)
		}
		if err != nil {
			return 0, "", nil, fmt.Errorf("reading the schema registry: %w", err)
		}
		references, err := referencesOf(ctx, q, `r.id = $1`, id)
		return number, schema, references[id], err
	}
}

// text returns the version's schema with all that it refers to, which cannot have been deleted for
// good.
func (v storedVersion) text(ctx context.Context, q querier) (string, error) {
	text, err := bundled(ctx, v.Schema, v.References, lookIn(q, withDeleted))
	if err != nil {
		return "", fmt.Errorf("reading version %d of %s: %w", v.Version, v.Subject, err)
	}
	return text, nil
}

// referencesOf returns the references of texts, by the ids of the texts.
func referencesOf(ctx context.Context, q querier, where string, args ...any) (map[int][]Reference, error) {
	all := map[int][]Reference{}
	err := sqldb.Each(ctx, q, func(row sqldb.Row) error {
		var id int
		var r Reference
		err := row.Scan(&id, &r.Name, &r.Subject, &r.Version)
		all[id] = append(all[id], r)
		return err
	}, `SELECT r.id, r.name, r.subject, r.version FROM weir_schema_reference r WHERE `+where+
		` ORDER BY r.id, r.place`, args...)
	if err != nil {
		return nil, fmt.Errorf("reading references of schemas: %w", err)
	}
	return all, nil
}

func insertReferences(ctx context.Context, tx *sql.Tx, id int, references []Reference) error {
	for i, r := range references {
		if _, err := tx.ExecContext(ctx, `INSERT INTO weir_schema_reference (id, place, name, subject, version) VALUES ($1, $2, $3, $4, $5)`, id, i, r.Name, r.Subject, r.Version); err != nil {
			return fmt.Errorf("writing references of schema %d: %w", id, err)
		}
	}
	return nil
}

// referrers returns the ids of schemas that refer to a version, if a version of some subject has
// them.
func referrers(ctx context.Context, q querier, subject string, version int, filter deletedFilter) ([]int, error) {
	ids, err := sqldb.All(ctx, q, sqldb.Value[int], `SELECT DISTINCT v.id FROM weir_schema_version v JOIN weir_schema_reference r ON r.id = v.id
		WHERE `+string(filter)+` AND r.subject = $1 AND r.version = $2 ORDER BY v.id`, subject, version)
	if err != nil {
		return nil, fmt.Errorf("reading who refers to %s/%d: %w", subject, version, err)
	}
	return ids, nil
}

// unreferenced returns an error if another schema refers to one of the versions. For a permanent
// deletion, schemas that were deleted softly count, too, because they can still be read. Versions
// of the subject except do not count: they are deleted as well.
func unreferenced(ctx context.Context, tx *sql.Tx, gone []storedVersion, except string, permanent bool) error {
	filter := withoutDeleted
	if permanent {
		filter = withDeleted
	}
	for _, v := range gone {
		var n int
		err := tx.QueryRowContext(ctx, `SELECT count(*) FROM weir_schema_version v JOIN weir_schema_reference r ON r.id = v.id
			WHERE `+string(filter)+` AND r.subject = $1 AND r.version = $2 AND v.subject <> $3`, v.Subject, v.Version, except).Scan(&n)
		if err != nil {
			return fmt.Errorf("reading who refers to %s/%d: %w", v.Subject, v.Version, err)
		}
		if n > 0 {
			return fails(http.StatusUnprocessableEntity, 42206,
				"One or more references exist to the schema {subject=%s,version=%d}", v.Subject, v.Version)
		}
	}
	return nil
}
