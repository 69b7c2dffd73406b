package sqldb

import (
	"errors"
	"slices"
	"testing"
)

// Whatever becomes of an answer, its connection is free when the rows were read:
// a transaction, which has one, goes on.
func TestRows_AreReadWholeOrNotAtAll(t *testing.T) {
	db, err := Open(t.Context(), "sqlite://"+t.TempDir()+"/x.db")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if none, err := All(t.Context(), tx, Value[int], `SELECT 1 WHERE 1 = 2`); err != nil || none == nil || len(none) != 0 {
		t.Errorf("no rows: %v %v", none, err)
	}
	const three = `SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3`
	if all, err := All(t.Context(), tx, Value[int], three); err != nil || !slices.Equal(all, []int{1, 2, 3}) {
		t.Errorf("three rows: %v %v", all, err)
	}
	refused := errors.New("not this one")
	seen := 0
	some, err := All(t.Context(), tx, func(row Row) (int, error) {
		if seen++; seen == 2 {
			return 0, refused
		}
		return Value[int](row)
	}, three)
	if !errors.Is(err, refused) || some != nil || seen != 2 {
		t.Errorf("a row that is refused: %v after %d rows: %v", some, seen, err)
	}
	if _, err := All(t.Context(), tx, Value[int], `SELECT 'no number'`); err == nil {
		t.Error("a row that does not fit was read")
	}
	if _, err := All(t.Context(), tx, Value[int], three); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

// Whatever a text holds, a list of texts finds it as it is, and nothing else.
func TestAmong_FindsTextsAsTheyAre(t *testing.T) {
	onEach(t, func(t *testing.T, open func() *DB) {
		ctx, db := t.Context(), open()
		exec(t, db, `CREATE TABLE names (name TEXT PRIMARY KEY)`)
		texts := []string{"", `"`, `\`, `a","b`, "ä\u2028", "<&>", "{1}", "1", "01", "null", "NULL", "it's", "😀",
			`\u0041`, "line\nend\t\r", "\x01"}
		for _, text := range texts {
			if _, err := db.ExecContext(ctx, `INSERT INTO names (name) VALUES ($1)`, text); err != nil {
				t.Fatal(err)
			}
		}
		for i := range texts {
			for _, asked := range [][]string{texts[i : i+1], texts[:i], append([]string{"other", "2"}, texts[i:]...), nil} {
				found, err := All(ctx, db, Value[string], `SELECT name FROM names WHERE name `+db.Dialect.Among("$1"),
					db.Dialect.List(asked))
				want := slices.DeleteFunc(slices.Clone(asked), func(s string) bool { return s == "other" || s == "2" })
				slices.Sort(found)
				slices.Sort(want)
				if err != nil || !slices.Equal(found, want) {
					t.Errorf("asked for %q: %q (%v)", asked, found, err)
				}
			}
		}
	})
}
