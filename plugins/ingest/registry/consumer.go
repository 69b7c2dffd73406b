package registry

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"weir/internal/platform/sqldb"
	"weir/internal/platform/text"
)

// Support is a declaration of the schema versions that a consumer can read: "telemetry/2", a range
// "telemetry/1-3", an open range "telemetry/2-", or "telemetry/*".
type Support struct {
	Subject     string
	First, Last int // inclusive; Last 0 is open
}

// parseSupport reads a declaration.
func parseSupport(s string) (Support, error) {
	bad := fmt.Errorf(`declaration %q is not SUBJECT/VERSION, SUBJECT/FIRST-LAST, SUBJECT/FIRST- or SUBJECT/*`,
		text.Shorten(s))
	i := strings.LastIndexByte(s, '/')
	if i <= 0 {
		return Support{}, bad
	}
	out, versions := Support{Subject: s[:i], First: 1}, s[i+1:]
	if versions == "*" {
		return out, nil
	}
	first, last, isRange := strings.Cut(versions, "-")
	var err error
	if out.First, err = strconv.Atoi(first); err != nil || out.First < 1 {
		return Support{}, bad
	}
	switch {
	case !isRange:
		out.Last = out.First
	case last != "":
		if out.Last, err = strconv.Atoi(last); err != nil || out.Last < out.First {
			return Support{}, bad
		}
	}
	return out, nil
}

// ParseSupports reads at least one declaration.
func ParseSupports(texts []string) ([]Support, error) {
	all := make([]Support, len(texts))
	for i, text := range texts {
		var err error
		if all[i], err = parseSupport(text); err != nil {
			return nil, err
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("expected at least one declaration, such as telemetry/1-3")
	}
	return all, nil
}

// has tells whether the declaration includes a version.
func (s Support) has(subject string, version int) bool {
	return subject == s.Subject && version >= s.First && (s.Last == 0 || version <= s.Last)
}

// Supported tells whether one of the declarations includes a schema, by its name as in the header
// weir_schema.
func Supported(all []Support, name string) bool {
	i := strings.LastIndexByte(name, '/')
	if i < 0 {
		return false
	}
	version, err := strconv.Atoi(name[i+1:])
	if err != nil {
		return false
	}
	for _, s := range all {
		if s.has(name[:i], version) {
			return true
		}
	}
	return false
}

// consumer is a reader of events, and the versions that it can read.
type consumer struct {
	Name     string   `json:"name"`
	Supports []string `json:"supports"`
}

// consumers returns the declared consumers, by name.
func consumers(ctx context.Context, q querier) ([]consumer, error) {
	all, err := sqldb.All(ctx, q, func(row sqldb.Row) (c consumer, err error) {
		var supports string
		if err := row.Scan(&c.Name, &supports); err != nil {
			return c, err
		}
		return c, json.Unmarshal([]byte(supports), &c.Supports)
	}, `SELECT name, supports FROM weir_schema_consumer ORDER BY name`)
	if err != nil {
		return nil, fmt.Errorf("reading the consumers of schemas: %w", err)
	}
	return all, nil
}

// unready lists the consumers that read a subject and have not declared a
// version of it.
func unready(all []consumer, subject string, version int) (names []string) {
	for _, c := range all {
		declared, err := ParseSupports(c.Supports)
		if err != nil {
			continue // it was checked when it was declared
		}
		reads, has := false, false
		for _, s := range declared {
			reads = reads || s.Subject == subject
			has = has || s.has(subject, version)
		}
		if reads && !has {
			names = append(names, c.Name)
		}
	}
	return names
}

func (r *Registry) getConsumers(req *http.Request) (any, error) {
	return consumers(req.Context(), r.store.db)
}

func (r *Registry) putConsumer(req *http.Request) (any, error) {
	c := consumer{Name: req.PathValue("name")}
	if err := body(req, &c); err != nil {
		return nil, err
	}
	c.Name = req.PathValue("name")
	if err := checkSubject(c.Name); err != nil {
		return nil, err
	}
	if _, err := ParseSupports(c.Supports); err != nil {
		return nil, fails(http.StatusUnprocessableEntity, http.StatusUnprocessableEntity, "Invalid consumer: %v", err)
	}
	raw, err := json.Marshal(c.Supports)
	if err != nil {
		return nil, fmt.Errorf("encoding a consumer: %w", err)
	}
	err = r.store.write(req.Context(), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(req.Context(), `INSERT INTO weir_schema_consumer (name, supports) VALUES ($1, $2)
			ON CONFLICT (name) DO UPDATE SET supports = excluded.supports`, c.Name, string(raw))
		return err
	})
	return c, err
}

func (r *Registry) deleteConsumer(req *http.Request) (any, error) {
	name := req.PathValue("name")
	err := r.store.write(req.Context(), func(tx *sql.Tx) error {
		res, err := tx.ExecContext(req.Context(), `DELETE FROM weir_schema_consumer WHERE name = $1`, name)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return fails(http.StatusNotFound, http.StatusNotFound, "There is no consumer %q", text.Shorten(name))
		}
		return nil
	})
	return name, err
}
