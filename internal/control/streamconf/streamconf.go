// Package streamconf keeps versions of stream configs in the control store: their texts with their tests, and which
// version is in force for each stream. A change is committed when its function returns nil.
package streamconf

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"weir/internal/platform/sqldb"
)

// The errors that callers distinguish.
var (
	ErrNoVersion  = errors.New("there is no version of this stream's config of this number")
	ErrNoneBefore = errors.New("nothing was in force before what is in force now")
	errName       = errors.New("a stream's name has letters, digits, _ and -, 64 at most")
)

// Test is a test file that a config passed when it was put.
type Test struct {
	File string `json:"file"`
	Text string `json:"text"`
}

// Version is a stored config. Only RanAt changes later.
type Version struct {
	Stream    string     `json:"stream"`
	Number    int64      `json:"number"` // from 1 on, per stream
	Sum       string     `json:"sum"`    // short hash of Text
	Comment   string     `json:"comment"`
	CreatedBy string     `json:"created_by"`
	CreatedAt time.Time  `json:"created_at"`
	RanAt     *time.Time `json:"ran_at"` // when a process first ran it; nil: never
	Tests     []Test     `json:"tests,omitempty"`
	Text      string     `json:"text,omitempty"`
}

// Activation says which version of a stream's config is in force, since when and by whom. Number 0 is each process's
// own file, which is in force before the first activation.
type Activation struct {
	Stream string    `json:"stream"`
	Number int64     `json:"number"`
	By     string    `json:"by,omitempty"`
	At     time.Time `json:"at,omitzero"`

	seq, undo int64 // undo: seq of the activation that a rollback returns to, 0 for the file
}

// Wanted is the version in force for a stream, and those that a starting process may use: versions that were in force
// and that a process has run. A version that has never run is first tried beside the running stream, not at start.
type Wanted struct {
	Number int64
	Text   string    // "" for number 0
	Begin  []Version // versions to start with, in order of preference; if empty, the file
}

// Store keeps versions and activations.
type Store struct{ db *sqldb.DB }

func migrations() []sqldb.Migration {
	tables := `CREATE TABLE stream_config (
		stream TEXT NOT NULL, number BIGINT NOT NULL, sum TEXT NOT NULL, comment TEXT NOT NULL, created_by TEXT NOT NULL,
		created_at BIGINT NOT NULL, ran_at BIGINT NOT NULL, tests TEXT NOT NULL, text TEXT NOT NULL,
		PRIMARY KEY (stream, number));
		CREATE TABLE stream_config_activation (
		seq BIGINT PRIMARY KEY, stream TEXT NOT NULL, number BIGINT NOT NULL, undo BIGINT NOT NULL,
		activated_by TEXT NOT NULL, activated_at BIGINT NOT NULL);`
	return []sqldb.Migration{{SQLite: tables, Postgres: tables}}
}

// Open creates or migrates the tables.
func Open(ctx context.Context, db *sqldb.DB) (*Store, error) {
	if err := db.Migrate(ctx, "stream_config", migrations()); err != nil {
		return nil, fmt.Errorf("opening the versions of stream configs: %w", err)
	}
	return &Store{db}, nil
}

var name = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

// Put stores a text as a new version of v.Stream, or returns the existing version with the same text. The caller has
// checked the text.
func (s *Store) Put(ctx context.Context, v Version) (Version, error) {
	if !name.MatchString(v.Stream) {
		return Version{}, errName
	}
	sum := sha256.Sum256([]byte(v.Text))
	v.Sum = hex.EncodeToString(sum[:6])
	if v.Tests == nil {
		v.Tests = []Test{}
	}
	tests, err := json.Marshal(v.Tests)
	if err != nil {
		return Version{}, fmt.Errorf("keeping a config: %w", err)
	}
	err = s.db.QueryRowContext(ctx, `SELECT number FROM stream_config WHERE stream = $1 AND text = $2`, v.Stream,
		v.Text).Scan(&v.Number)
	if errors.Is(err, sql.ErrNoRows) {
		err = s.db.QueryRowContext(ctx, `INSERT INTO stream_config (stream, number, sum, comment, created_by, created_at, ran_at,
			tests, text) SELECT $1, coalesce(max(number), 0) + 1, $2, $3, $4, $5, 0, $6, $7 FROM stream_config WHERE stream = $1
			RETURNING number`, v.Stream, v.Sum, v.Comment, v.CreatedBy, time.Now().UnixMicro(), string(tests),
			v.Text).Scan(&v.Number)
	}
	if err != nil {
		return Version{}, fmt.Errorf("keeping a config: %w", err)
	}
	return s.Get(ctx, v.Stream, v.Number)
}

const columns = `stream, number, sum, comment, created_by, created_at, ran_at`

func scan(more ...any) func(sqldb.Row) (Version, error) {
	return func(row sqldb.Row) (v Version, err error) {
		var created, ran int64
		err = row.Scan(append([]any{&v.Stream, &v.Number, &v.Sum, &v.Comment, &v.CreatedBy, &created, &ran}, more...)...)
		v.CreatedAt = time.UnixMicro(created).UTC()
		if ran > 0 {
			at := time.UnixMicro(ran).UTC()
			v.RanAt = &at
		}
		return v, err
	}
}

// Get returns a version with its text and tests, or ErrNoVersion.
func (s *Store) Get(ctx context.Context, stream string, number int64) (Version, error) {
	var tests, text string
	v, err := scan(&tests, &text)(s.db.QueryRowContext(ctx, `SELECT `+columns+`, tests, text FROM stream_config
		WHERE stream = $1 AND number = $2`, stream, number))
	if errors.Is(err, sql.ErrNoRows) {
		return v, ErrNoVersion
	}
	if err == nil {
		err = json.Unmarshal([]byte(tests), &v.Tests)
	}
	if err != nil {
		return v, fmt.Errorf("reading a version of a config: %w", err)
	}
	v.Text = text
	return v, nil
}

// List returns all versions without texts and tests, by stream, newest first.
func (s *Store) List(ctx context.Context) ([]Version, error) {
	list, err := sqldb.All(ctx, s.db, scan(), `SELECT `+columns+` FROM stream_config ORDER BY stream, number DESC`)
	if err != nil {
		return nil, fmt.Errorf("listing the versions of configs: %w", err)
	}
	return list, nil
}

const activations = `SELECT seq, stream, number, undo, activated_by, activated_at FROM stream_config_activation a `

func scanActivation(row sqldb.Row) (a Activation, err error) {
	var at int64
	err = row.Scan(&a.seq, &a.Stream, &a.Number, &a.undo, &a.By, &at)
	a.At = time.UnixMicro(at).UTC()
	return a, err
}

// Active returns the activation in force of each stream that ever had one.
func (s *Store) Active(ctx context.Context) ([]Activation, error) {
	list, err := sqldb.All(ctx, s.db, scanActivation, activations+`WHERE seq = (SELECT max(seq)
		FROM stream_config_activation n WHERE n.stream = a.stream) ORDER BY stream`)
	if err != nil {
		return nil, fmt.Errorf("reading which configs are in force: %w", err)
	}
	return list, nil
}

// of returns the activation in force of a stream, or the one with this seq when seq > 0. Without any, it is the
// file's.
func (s *Store) of(ctx context.Context, stream string, seq int64) (Activation, error) {
	list, err := sqldb.All(ctx, s.db, scanActivation, activations+`WHERE stream = $1 AND seq = CASE WHEN $2 > 0 THEN $2 ELSE
		(SELECT max(seq) FROM stream_config_activation WHERE stream = $1) END`, stream, seq)
	if err != nil {
		return Activation{}, fmt.Errorf("reading which config is in force: %w", err)
	}
	if len(list) == 0 {
		return Activation{Stream: stream}, nil
	}
	return list[0], nil
}

// Activate puts a version in force, or each process's file for number 0. Activating the version in force changes
// nothing.
func (s *Store) Activate(ctx context.Context, stream string, number int64, by string) (Activation, error) {
	if number != 0 {
		if _, err := s.Get(ctx, stream, number); err != nil {
			return Activation{}, err
		}
	}
	last, err := s.Last(ctx)
	if err != nil {
		return Activation{}, err
	}
	now, err := s.of(ctx, stream, 0)
	if err != nil || now.Number == number {
		return now, err
	}
	return s.put(ctx, last, Activation{Stream: stream, Number: number, By: by, undo: now.seq})
}

// Rollback puts the previous version in force again. A second rollback goes back one more. It fails with
// ErrNoneBefore.
func (s *Store) Rollback(ctx context.Context, stream, by string) (Activation, error) {
	last, err := s.Last(ctx)
	if err != nil {
		return Activation{}, err
	}
	now, err := s.of(ctx, stream, 0)
	if err != nil {
		return Activation{}, err
	}
	if now.seq == 0 || now.undo == 0 && now.Number == 0 {
		return Activation{}, ErrNoneBefore
	}
	before := Activation{Stream: stream}
	if now.undo > 0 {
		if before, err = s.of(ctx, stream, now.undo); err != nil {
			return Activation{}, err
		}
	}
	return s.put(ctx, last, Activation{Stream: stream, Number: before.Number, By: by, undo: before.undo})
}

// put inserts an activation after last, the newest that the caller saw. Of two concurrent ones, one fails and must be
// tried again.
func (s *Store) put(ctx context.Context, last int64, a Activation) (Activation, error) {
	_, err := s.db.ExecContext(ctx, `INSERT INTO stream_config_activation (seq, stream, number, undo, activated_by,
		activated_at) VALUES ($1, $2, $3, $4, $5, $6)`, last+1, a.Stream, a.Number, a.undo, a.By, time.Now().UnixMicro())
	if err != nil {
		return Activation{}, fmt.Errorf("putting a config in force: %w", err)
	}
	return s.of(ctx, a.Stream, 0)
}

// Ran records when a version first ran; later calls change nothing.
func (s *Store) Ran(ctx context.Context, stream string, number int64) error {
	_, err := s.db.ExecContext(ctx, `UPDATE stream_config SET ran_at = $1 WHERE stream = $2 AND number = $3 AND ran_at = 0`,
		time.Now().UnixMicro(), stream, number)
	if err != nil {
		return fmt.Errorf("noting that a config runs: %w", err)
	}
	return nil
}

// Last returns the seq of the newest activation of all streams: while it is unchanged, so are all versions in force.
func (s *Store) Last(ctx context.Context) (seq int64, err error) {
	err = s.db.QueryRowContext(ctx, `SELECT coalesce(max(seq), 0) FROM stream_config_activation`).Scan(&seq)
	if err != nil {
		return 0, fmt.Errorf("reading which configs are in force: %w", err)
	}
	return seq, nil
}

// Wanted returns the Wanted of each stream that was ever activated.
func (s *Store) Wanted(ctx context.Context) (map[string]Wanted, error) {
	active, err := s.Active(ctx)
	if err != nil {
		return nil, err
	}
	all := map[string]Wanted{}
	for _, a := range active {
		w := Wanted{Number: a.Number}
		for next := a; next.Number > 0; {
			v, err := s.Get(ctx, next.Stream, next.Number)
			if err != nil {
				return nil, err
			}
			if next.seq == a.seq {
				w.Text = v.Text
			}
			if v.RanAt != nil {
				w.Begin = append(w.Begin, v)
			}
			if next.undo == 0 {
				break
			}
			if next, err = s.of(ctx, next.Stream, next.undo); err != nil {
				return nil, err
			}
		}
		all[a.Stream] = w
	}
	return all, nil
}
