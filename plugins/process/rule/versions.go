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

// Errors that callers handle. For a wrong rule set the error is a *ProblemsError.
var (
	ErrNoVersion  = errors.New("there is no version of rules of this number")
	ErrNoneBefore = errors.New("nothing was in force before what is in force now")
	ErrCanary     = errors.New("a version is in force for some fleets: activate it, or roll it back, before another is")
	ErrFleets     = errors.New("fleets are names or patterns such as plant-*, at least one, 100 at most")
)

// Version is a rule set that was put into the control store, or that was active from a file. Its text never changes.
type Version struct {
	Number    int64     `json:"number"`
	Version   string    `json:"version"` // the hash that results carry
	Source    string    `json:"source"`  // sourcePut or sourceFile
	Rules     []string  `json:"rules"`
	Comment   string    `json:"comment"`
	CreatedBy string    `json:"created_by"`
	CreatedAt time.Time `json:"created_at"`
	Text      string    `json:"text,omitempty"`
}

// Activation says which version is active, since when, and who activated it. Number 0 is the file of rules, which is
// active until a version is activated.
type Activation struct {
	Number  int64     `json:"number"`
	Version string    `json:"version,omitempty"`
	By      string    `json:"by,omitempty"`
	At      time.Time `json:"at,omitzero"`

	Canary        int64    `json:"canary,omitempty"` // a version that is active for Fleets only; 0: none
	CanaryVersion string   `json:"canary_version,omitempty"`
	Fleets        []string `json:"fleets,omitempty"` // names or patterns

	seq, undo int64 // undo: the seq of the activation to which a rollback returns; 0: none
}

// Versions manages the versions of rules, and which one is active, in the control store. When a method returns without
// an error, its change is committed. It is safe for concurrent use.
type Versions struct{ db *sqldb.DB }

// OpenVersions returns the versions of a control store, and creates the tables if needed.
func OpenVersions(ctx context.Context, db *sqldb.DB) (*Versions, error) {
	if err := migrate(ctx, db); err != nil {
		return nil, err
	}
	return &Versions{db}, nil
}

// The sources of versions. When a text that was active from a file is put, its source becomes sourcePut.
const (
	sourcePut  = "put"
	sourceFile = "file"
)

// Put stores a rule set as a version, if it is valid. If the same text is stored already, that version is returned.
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

// keepFile stores the active rules of a file as a version.
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
		// Locking the last activation, which always exists, serializes all who add versions.
		if _, err := lastLocked(ctx, tx, db); err != nil {
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

// Active returns the current activation.
func (v *Versions) Active(ctx context.Context) (Activation, error) {
	return activation(ctx, v.db, "", 0)
}

// querier is a store or a transaction.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// activation reads the activation with a seq, the last one if seq is 0. lock is a locking clause or "".
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

// lastLocked returns the last activation, and locks it until the transaction ends. Who waited for another's lock may
// have been given the row that was the last before the other inserted one: it is read again then.
func lastLocked(ctx context.Context, tx *sql.Tx, db *sqldb.DB) (Activation, error) {
	for {
		locked, err := activation(ctx, tx, db.ForUpdate(), 0)
		if err != nil {
			return locked, err
		}
		var last int64
		if err := tx.QueryRowContext(ctx, `SELECT max(seq) FROM rule_activation`).Scan(&last); err != nil {
			return locked, fmt.Errorf("reading which rules are in force: %w", err)
		}
		if locked.seq == last {
			return locked, nil
		}
	}
}

// Activate makes a version active for all fleets, 0 for the file, and ends a canary. Partitions take it up with their
// next batch. If it is active already, without a canary, nothing changes.
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

// ActivateFor makes a version active for some fleets only, given by names or patterns, as a canary. All other fleets
// keep the active version, until the canary is activated for all or rolled back. It fails with ErrFleets for wrong
// patterns, and with ErrCanary when there is another canary.
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

// Rollback returns to the activation before the current one. Called again it goes back one more. It fails with
// ErrNoneBefore when there is none.
func (v *Versions) Rollback(ctx context.Context, by string) (Activation, error) {
	return v.change(ctx, by, func(tx *sql.Tx, now Activation) (Activation, error) {
		if now.undo == 0 {
			return now, ErrNoneBefore
		}
		return activation(ctx, tx, "", now.undo)
	})
}

// change inserts the activation that to returns for the current one, in one transaction, and returns what is active
// afterwards. If both are the same, nothing is written.
func (v *Versions) change(ctx context.Context, by string, to func(tx *sql.Tx, now Activation) (Activation,
	error)) (Activation, error) {
	err := tombstone.Update(ctx, v.db, func(tx *sql.Tx) error {
		now, err := lastLocked(ctx, tx, v.db)
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
