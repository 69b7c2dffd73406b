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
