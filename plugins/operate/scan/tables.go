package scan

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"weir/internal/lifecycle"
	"weir/internal/platform/sqldb"
)

// pageRows is how many rows of SQLite one query reads: a longer query would keep writers from
// truncating their write-ahead log.
const pageRows = 500

// tables scans the text of every row of the tables of a store. Tables that do not exist yet are
// skipped.
func (s *scan) tables(ctx context.Context, kind lifecycle.Kind, at string) error {
	db, err := sqldb.OpenReading(ctx, at)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }() // it was only read
	for _, name := range kind.Tables {
		t := table{db: db, name: name}
		there, err := t.there(ctx)
		if err == nil && there {
			err = t.describe(ctx, kind.Numbers)
		}
		switch {
		case err != nil:
			return fmt.Errorf("looking at table %s: %w", name, err)
		case !there:
			continue
		case s.Fleet != "" && !t.fleets:
			s.part.Unread = append(s.part.Unread, name)
			continue
		}
		if err := s.table(ctx, t); err != nil {
			return fmt.Errorf("reading table %s: %w", name, err)
		}
	}
	return nil
}

// table is one table of a database.
type table struct {
	db     *sqldb.DB
	name   string
	text   []string // columns with text or bytes
	fleets bool     // its rows have a fleet
	rowid  bool     // it has SQLite's rowid, by which it is read in pages
}

func (t *table) there(ctx context.Context) (there bool, err error) {
	query := `SELECT to_regclass($1) IS NOT NULL`
	if t.db.Dialect == sqldb.SQLite {
		query = `SELECT count(*) > 0 FROM sqlite_master WHERE type = 'table' AND name = $1`
	}
	return there, t.db.QueryRowContext(ctx, query, t.name).Scan(&there)
}

// describe finds the columns that may hold text.
func (t *table) describe(ctx context.Context, numbers []string) error {
	rows, err := t.db.QueryContext(ctx, `SELECT * FROM `+t.name+` LIMIT 0`)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.ColumnTypes()
	if err != nil {
		return err
	}
	for _, c := range columns {
		t.fleets = t.fleets || c.Name() == fleetName
		if !slices.Contains(numbers, c.Name()) && !numeric(c.DatabaseTypeName()) {
			t.text = append(t.text, c.Name())
		}
	}
	if t.db.Dialect == sqldb.SQLite {
		err = t.db.QueryRowContext(ctx, `SELECT wr = 0 FROM pragma_table_list WHERE name = $1 AND schema = 'main'`,
			t.name).Scan(&t.rowid)
	}
	return err
}

// numeric tells whether a type cannot hold text, in either dialect.
func numeric(kind string) bool {
	kind = strings.ToUpper(strings.TrimPrefix(kind, "_"))
	for _, begin := range []string{"INT", "BIGINT", "SMALLINT", "DOUBLE", "REAL", "FLOAT", "NUMERIC", "BOOL",
		"TIMESTAMP", "DATE"} {
		if strings.HasPrefix(kind, begin) {
			return true
		}
	}
	return false
}

// table reads one table, in SQLite page by page.
func (s *scan) table(ctx context.Context, t table) error {
	if len(t.text) == 0 {
		return nil
	}
	key, where, args := "0", "", []any{}
	if s.Fleet != "" {
		where, args = ` WHERE fleet = $1`, append(args, s.Fleet)
	}
	if !t.rowid {
		_, _, err := s.rows(ctx, t, key, where, args)
		return err
	}
	and := ` WHERE `
	if where != "" {
		and = ` AND `
	}
	for last := int64(-1 << 63); ; {
		query := fmt.Sprintf(`%s%srowid > $%d ORDER BY rowid LIMIT %d`, where, and, len(args)+1, pageRows)
		n, at, err := s.rows(ctx, t, "rowid", query, append(slices.Clone(args), last))
		if err != nil || n < pageRows {
			return err
		}
		last = at
	}
}

// rows scans the rows of a query, and returns their number and the key of the last.
func (s *scan) rows(ctx context.Context, t table, key, where string, args []any) (n int, last int64, err error) {
	values := make([]any, len(t.text)+1)
	into := make([]any, len(values))
	for i := range values {
		into[i] = &values[i]
	}
	into[0] = &last
	query := `SELECT ` + key + `, "` + strings.Join(t.text, `", "`) + `" FROM ` + t.name + where
	err = sqldb.Each(ctx, t.db, func(row sqldb.Row) error {
		if err := row.Scan(into...); err != nil {
			return err
		}
		n++
		s.row()
		for i, column := range t.text {
			at := t.name + "." + column
			switch v := values[i+1].(type) {
			case string:
				s.value(at, column, []byte(v))
			case []byte:
				s.value(at, column, v)
			}
		}
		return nil
	}, query, args...)
	return n, last, err
}
