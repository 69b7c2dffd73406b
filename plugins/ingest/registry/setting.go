package registry

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"weir/plugins/ingest/registry/compat"
)

// The modes of the registry or of a subject.
const (
	modeReadwrite = "READWRITE"
	modeReadonly  = "READONLY"
	modeOverride  = "READONLY_OVERRIDE" // of the server: read-only, whatever a subject's mode
	modeImport    = "IMPORT"            // clients may choose ids and versions, and compatibility is not checked
)

// settings are those of a subject or of the server. Empty fields are not set.
type settings struct {
	Level  compat.Level
	Policy compat.Policy
	Mode   string
}

// serverDefaults apply where nothing is set.
func serverDefaults() settings {
	return settings{Level: compat.LevelBackward, Policy: compat.PolicyAdditive, Mode: modeReadwrite}
}

func (s settings) or(other settings) settings {
	if s.Level == "" {
		s.Level = other.Level
	}
	if s.Policy == "" {
		s.Policy = other.Policy
	}
	if s.Mode == "" {
		s.Mode = other.Mode
	}
	return s
}

func (s settings) readonly() bool { return s.Mode == modeReadonly || s.Mode == modeOverride }

// own returns the settings of a subject itself; "": of the server.
func own(ctx context.Context, q querier, subject string) (settings, error) {
	var level, policy, mode sql.NullString
	err := q.QueryRowContext(ctx, `SELECT compatibility, policy, mode FROM weir_schema_setting WHERE subject = $1`,
		subject).Scan(&level, &policy, &mode)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return settings{}, fmt.Errorf("reading the settings of the schema registry: %w", err)
	}
	return settings{Level: compat.Level(level.String), Policy: compat.Policy(policy.String), Mode: mode.String}, nil
}

// effective returns the settings that apply to a subject.
func effective(ctx context.Context, q querier, subject string) (settings, error) {
	server, err := own(ctx, q, "")
	if err != nil || subject == "" {
		return server.or(serverDefaults()), err
	}
	s, err := own(ctx, q, subject)
	if server.Mode == modeOverride {
		s.Mode = server.Mode
	}
	return s.or(server).or(serverDefaults()), err
}

// set changes the settings of a subject itself. When it returns nil, the change is committed.
func (r *Registry) set(ctx context.Context, subject string, change func(*settings) error) (before, after settings,
	err error) {
	err = r.store.write(ctx, func(tx *sql.Tx) error {
		if before, err = own(ctx, tx, subject); err != nil {
			return err
		}
		after = before
		if err := change(&after); err != nil {
			return err
		}
		null := func(s string) sql.NullString { return sql.NullString{String: s, Valid: s != ""} }
		_, err := tx.ExecContext(ctx, `INSERT INTO weir_schema_setting (subject, compatibility, policy, mode) VALUES ($1, $2, $3, $4)
			ON CONFLICT (subject) DO UPDATE SET compatibility = excluded.compatibility, policy = excluded.policy, mode = excluded.mode`,
			subject, null(string(after.Level)), null(string(after.Policy)), null(after.Mode))
		if err != nil {
			return fmt.Errorf("writing the settings of the schema registry: %w", err)
		}
		return nil
	})
	return before, after, err
}

// configRequest is the body of PUT /config.
type configRequest struct {
	Compatibility string `json:"compatibility"`
	Policy        string `json:"policy"`
}

func (c configRequest) apply(s *settings) error {
	if c.Compatibility == "" && c.Policy == "" {
		return fails(http.StatusUnprocessableEntity, 42203,
			"Invalid compatibility level: name a compatibility, a policy, or both")
	}
	if c.Compatibility != "" {
		l, err := compat.ParseLevel(c.Compatibility)
		if err != nil {
			return fails(http.StatusUnprocessableEntity, 42203, "Invalid compatibility level: %v", err)
		}
		s.Level = l
	}
	if c.Policy != "" {
		p, err := compat.ParsePolicy(c.Policy)
		if err != nil {
			return fails(http.StatusUnprocessableEntity, 42203, "Invalid compatibility policy: %v", err)
		}
		s.Policy = p
	}
	return nil
}

func parseMode(s string) (string, error) {
	switch m := strings.ToUpper(s); m {
	case modeReadwrite, modeReadonly, modeOverride, modeImport:
		return m, nil
	}
	return "", fails(http.StatusUnprocessableEntity, 42204,
		"Invalid mode: %q is not one of READWRITE, READONLY, READONLY_OVERRIDE, IMPORT", s)
}
