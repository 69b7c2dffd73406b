package registry

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
)

// deleteSubject deletes all versions softly; with permanent it deletes those for good that were
// deleted softly before.
func (r *Registry) deleteSubject(req *http.Request) (any, error) {
	subject, ctx := req.PathValue("subject"), req.Context()
	var gone []storedVersion
	err := r.store.write(ctx, func(tx *sql.Tx) error {
		all, err := r.deletable(ctx, tx, subject)
		if err != nil {
			return err
		}
		for _, v := range all {
			if !v.deleted {
				gone = append(gone, v)
			}
		}
		switch {
		case flag(req, "permanent") && len(gone) > 0:
			return fails(http.StatusNotFound, 40405, "Subject '%s' was not deleted first before being permanently deleted",
				subject)
		case flag(req, "permanent"):
			gone = all
		case len(gone) == 0:
			return fails(http.StatusNotFound, 40404, "Subject '%s' was soft deleted. Set permanent=true to delete permanently",
				subject)
		}
		if err := unreferenced(ctx, tx, gone, subject, flag(req, "permanent")); err != nil {
			return err
		}
		if flag(req, "permanent") { // a new subject of this name begins without them
			if _, err := tx.ExecContext(ctx, `DELETE FROM weir_schema_setting WHERE subject = $1`, subject); err != nil {
				return fmt.Errorf("deleting the settings of %s: %w", subject, err)
			}
		}
		return remove(ctx, tx, gone, flag(req, "permanent"))
	})
	return numbers(gone), err
}

func (r *Registry) deleteVersion(req *http.Request) (any, error) {
	subject, ctx := req.PathValue("subject"), req.Context()
	n, err := number(req)
	if err != nil {
		return nil, err
	}
	var v storedVersion
	err = r.store.write(ctx, func(tx *sql.Tx) error {
		all, err := r.deletable(ctx, tx, subject)
		if err != nil {
			return err
		}
		if v, err = pick(all, subject, n); err != nil {
			return err
		}
		switch {
		case flag(req, "permanent") && !v.deleted:
			return fails(http.StatusNotFound, 40407, "Subject '%s' Version %d was not deleted first before being permanently "+
				"deleted", subject, v.Version)
		case !flag(req, "permanent") && v.deleted:
			return fails(http.StatusNotFound, 40406, "Subject '%s' Version %d was soft deleted. Set permanent=true to delete "+
				"permanently", subject, v.Version)
		}
		if err := unreferenced(ctx, tx, []storedVersion{v}, "", flag(req, "permanent")); err != nil {
			return err
		}
		return remove(ctx, tx, []storedVersion{v}, flag(req, "permanent"))
	})
	return v.Version, err
}

func (r *Registry) deletable(ctx context.Context, tx *sql.Tx, subject string) ([]storedVersion, error) {
	set, err := effective(ctx, tx, subject)
	if err != nil {
		return nil, err
	}
	if set.readonly() {
		return nil, fails(http.StatusUnprocessableEntity, 42205, "Subject %s is in read-only mode", subject)
	}
	all, err := versionsOf(ctx, tx, subject, withDeleted)
	if err == nil && len(all) == 0 {
		err = subjectNotFound(subject)
	}
	return all, err
}

// remove keeps the texts: an id that was given out keeps its schema.
func remove(ctx context.Context, tx *sql.Tx, versions []storedVersion, permanent bool) error {
	statement := `UPDATE weir_schema_version SET deleted = 1 WHERE subject = $1 AND version = $2`
	if permanent {
		statement = `DELETE FROM weir_schema_version WHERE subject = $1 AND version = $2`
	}
	for _, v := range versions {
		if _, err := tx.ExecContext(ctx, statement, v.Subject, v.Version); err != nil {
			return fmt.Errorf("deleting version %d of %s: %w", v.Version, v.Subject, err)
		}
	}
	return nil
}
