package rule

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
)

// The errors that callers tell apart. A text that is wrong is a *ProblemsError.
var (
	ErrNoVersion  = errors.New("there is no version of rules of this number")
	ErrNoneBefore = errors.New("nothing was in force before what is in force now")
	ErrCanary     = errors.New("a version is in force for some fleets: activate it, or roll it back, before another is")
	ErrFleets     = errors.New("fleets are names or patterns such as plant-*, at least one, 100 at most")
)

// Version is a rule set that was put into the control store, or that a file had in
// force. It does not change.
type Version struct {
	Number    int64     `json:"number"`
	Version   string    `json:"version"` // as results name it
	Source    string    `json:"source"`  // put, or file
	Rules     []string  `json:"rules"`
	Comment   string    `json:"comment"`
	CreatedBy string    `json:"created_by"`
	CreatedAt time.Time `json:"created_at"`
	Text      string    `json:"text,omitempty"`
}

// Activation says which version is in force, since when, and by whom. Number 0
// is the file of rules, which is in force until a version is.
type Activation struct {
	Number  int64     `json:"number"`
	Version string    `json:"version,omitempty"`
	By      string    `json:"by,omitempty"`
	At      time.Time `json:"at,omitzero"`

	Canary        int64    `json:"canary,omitempty"` // a version that is in force for some fleets alone
	CanaryVersion string   `json:"canary_version,omitempty"`
	Fleets        []string `json:"fleets,omitempty"` // names or patterns, of the canary

	seq, undo int64 // undo: the activation that a rollback goes back to
}

// Versions keeps the versions of rules, and which is in force, in the control
// store. What it returned is committed.
type Versions struct{ db *sqldb.DB }

// OpenVersions makes the tables.
func OpenVersions(ctx context.Context, db *sqldb.DB) (*Versions, error) {
	if err := migrate(ctx, db); err != nil {
		return nil, err
	}
	return &Versions{db}, nil
}

// Where versions come from. A text that a file had, and that is put, is one that was.
const (
	sourcePut  = "put"
	sourceFile = "file"
)

// Put keeps a text as a version, if it is right. A text that is one already is
// that one.
func (v *Versions) Put(ctx context.Context, text, by, comment string) (Version, error) {
	set, err := Parse([]byte(text))
	if err != nil {
		return Version{}, err
	}
	if err := v.fit(ctx, set); err != nil {
		return Version{}, err
	}
	number, err := keepVersion(ctx, v.db, set, sourcePut, by, comment)
	if err != nil {
		return Version{}, err
	}
	return v.Get(ctx, number)
}

// keepFile keeps the rules of a file, which are in force, as a version.
func keepFile(ctx context.Context, db *sqldb.DB, set *Set) error {
	_, err := keepVersion(ctx, db, set, sourceFile, sourceFile, "")
	return err
}

func keepVersion(ctx context.Context, db *sqldb.DB, set *Set, source, by, comment string) (number int64, err error) {
	names := make([]string, len(set.Rules))
	for i, r := range set.Rules {
		names[i] = r.Name
	}
	list, err := json.Marshal(names)
	if err != nil {
		return 0, fmt.Errorf("keeping a version of rules: %w", err)
	}
	err = tombstone.Update(ctx, db, func(tx *sql.Tx) error {
		// The last activation is there, and who has it is the one who adds versions.
		if _, err := activation(ctx, tx, db.ForUpdate(), 0); err != nil {
			return err
		}
		was := ""
		err := tx.QueryRowContext(ctx, `SELECT number, source FROM rule_version WHERE text = $1`, set.text).
			Scan(&number, &was)
		switch {
		case err == nil && source == sourcePut && was == sourceFile:
			_, err = tx.ExecContext(ctx, `UPDATE rule_version SET source = $2, comment = $3, created_by = $4, created_at = $5
				WHERE number = $1`, number, source, comment, by, time.Now().UnixMicro())
			return err
		case !errors.Is(err, sql.ErrNoRows):
			return err
		}
		return tx.QueryRowContext(ctx, `INSERT INTO rule_version (number, version, rules, comment, created_by, created_at,
			text, source) SELECT coalesce(max(number), 0) + 1, $1, $2, $3, $4, $5, $6, $7 FROM rule_version RETURNING number`,
			set.Version, string(list), comment, by, time.Now().UnixMicro(), set.text, source).Scan(&number)
	})
	if err != nil {
		return 0, fmt.Errorf("keeping a version of rules: %w", err)
	}
	return number, nil
}

const versionColumns = `number, version, source, rules, comment, created_by, created_at`

func scanVersion(row interface{ Scan(...any) error }, more ...any) (r Version, err error) {
	var rules string
	var created int64
	err = row.Scan(append([]any{&r.Number, &r.Version, &r.Source, &rules, &r.Comment, &r.CreatedBy, &created}, more...)...)
	if err == nil {
		err = json.Unmarshal([]byte(rules), &r.Rules)
	}
	r.CreatedAt = time.UnixMicro(created).UTC()
	return r, err
}

// Get returns a version with its text, or ErrNoVersion.
func (v *Versions) Get(ctx context.Context, number int64) (Version, error) {
	var text string
	r, err := scanVersion(v.db.QueryRowContext(ctx, `SELECT `+versionColumns+`, text FROM rule_version WHERE number = $1`,
		number), &text)
	if errors.Is(err, sql.ErrNoRows) {
		return r, ErrNoVersion
	} else if err != nil {
		return r, fmt.Errorf("reading a version of rules: %w", err)
	}
	r.Text = text
	return r, nil
}

// List returns all versions without their texts, the newest first.
func (v *Versions) List(ctx context.Context) ([]Version, error) {
	rows, err := v.db.QueryContext(ctx, `SELECT `+versionColumns+` FROM rule_version ORDER BY number DESC`)
	if err != nil {
		return nil, fmt.Errorf("reading the versions of rules: %w", err)
	}
	list := []Version{}
	for rows.Next() {
		var r Version
		if r, err = scanVersion(rows); err != nil {
			break
		}
		list = append(list, r)
	}
	if err = errors.Join(err, rows.Err(), rows.Close()); err != nil {
		return nil, fmt.Errorf("reading the versions of rules: %w", err)
	}
	return list, nil
}

// Active says what is in force.
func (v *Versions) Active(ctx context.Context) (Activation, error) {
	return activation(ctx, v.db, "", 0)
}

// querier is a store, or a transaction of one.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// activation reads one; the last, if seq is 0.
func activation(ctx context.Context, q querier, lock string, seq int64) (a Activation, err error) {
	var at int64
	var fleets string
	err = q.QueryRowContext(ctx, `SELECT a.seq, a.number, a.undo, a.activated_by, a.activated_at, a.canary, a.fleets,
		coalesce((SELECT version FROM rule_version v WHERE v.number = a.number), ''),
		coalesce((SELECT version FROM rule_version v WHERE v.number = a.canary), '') FROM rule_activation a
		WHERE a.seq = CASE WHEN $1 > 0 THEN $1 ELSE (SELECT max(seq) FROM rule_activation) END`+lock, seq).
		Scan(&a.seq, &a.Number, &a.undo, &a.By, &at, &a.Canary, &fleets, &a.Version, &a.CanaryVersion)
	if err == nil {
		err = json.Unmarshal([]byte(fleets), &a.Fleets)
	}
	if err != nil {
		return a, fmt.Errorf("reading which rules are in force: %w", err)
	}
	if a.At = time.UnixMicro(at).UTC(); at == 0 {
		a.At = time.Time{}
	}
	return a, nil
}

// Activate puts a version in force, 0 for the file, from the next batch of each
// partition on. One that is in force stays so.
func (v *Versions) Activate(ctx context.Context, number int64, by string) (Activation, error) {
	if number != 0 {
		if err := v.fitting(ctx, number); err != nil {
			return Activation{}, err
		}
	}
	return v.change(ctx, by, func(_ *sql.Tx, now Activation) (Activation, error) {
		return Activation{Number: number, undo: now.seq}, nil
	})
}

// ActivateFor puts a version in force for some fleets alone, by names or patterns. All others
// go on with what is in force, until it is activated or rolled back.
func (v *Versions) ActivateFor(ctx context.Context, number int64, fleets []string, by string) (Activation, error) {
	fleets = slices.Clone(fleets)
	for i := range fleets {
		fleets[i] = strings.TrimSpace(fleets[i])
	}
	slices.Sort(fleets)
	if fleets = slices.Compact(fleets); !areFleets(fleets) {
		return Activation{}, ErrFleets
	}
	if err := v.fitting(ctx, number); err != nil {
		return Activation{}, err
	}
	return v.change(ctx, by, func(_ *sql.Tx, now Activation) (Activation, error) {
		if now.Canary == number && slices.Equal(now.Fleets, fleets) {
			return now, nil
		}
		if now.Canary != 0 {
			return now, ErrCanary
		}
		return Activation{Number: now.Number, Canary: number, Fleets: fleets, undo: now.seq}, nil
	})
}

// Rollback puts in force what was before the version that is now. Again, it goes
// back one more.
func (v *Versions) Rollback(ctx context.Context, by string) (Activation, error) {
	return v.change(ctx, by, func(tx *sql.Tx, now Activation) (Activation, error) {
		if now.undo == 0 {
			return now, ErrNoneBefore
		}
		return activation(ctx, tx, "", now.undo)
	})
}

// change puts in force what to says, in one transaction with what was before.
func (v *Versions) change(ctx context.Context, by string, to func(tx *sql.Tx, now Activation) (Activation,
	error)) (Activation, error) {
	err := tombstone.Update(ctx, v.db, func(tx *sql.Tx) error {
		now, err := activation(ctx, tx, v.db.ForUpdate(), 0)
		if err != nil {
			return err
		}
		next, err := to(tx, now)
		if err != nil || next.Number == now.Number && next.Canary == now.Canary && slices.Equal(next.Fleets, now.Fleets) {
			return err
		}
		fleets, err := json.Marshal(append([]string{}, next.Fleets...))
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO rule_activation (seq, number, undo, activated_by, activated_at, canary, fleets)
			VALUES ($1, $2, $3, $4, $5, $6, $7)`, now.seq+1, next.Number, next.undo, by, time.Now().UnixMicro(), next.Canary,
			string(fleets))
		return err
	})
	if errors.Is(err, ErrNoneBefore) || errors.Is(err, ErrCanary) {
		return Activation{}, err
	} else if err != nil {
		return Activation{}, fmt.Errorf("putting rules in force: %w", err)
	}
	return v.Active(ctx)
}
