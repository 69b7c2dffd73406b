package rollup

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"weir/internal/lifecycle/tombstone"
)

func (t *sqliteTx) erasures(ctx context.Context) (seq int64, err error) {
	err = t.tx.QueryRowContext(ctx, tombstone.SeqQuery).Scan(&seq)
	return seq, err
}

func (t *sqliteTx) stones(ctx context.Context) (*tombstone.Set, error) {
	return tombstone.Load(ctx, t.tx)
}

// ofTarget returns the condition for the target's rows: $1 is the fleet, $2 the device.
func ofTarget(t tombstone.Target) string {
	if t.Device == "" {
		return `fleet = $1 AND $2 = ''`
	}
	return `fleet = $1 AND device_id = $2`
}

func (t *sqliteTx) erase(ctx context.Context, target tombstone.Target, table string, n int) (int64, error) {
	key := `(fleet, device_id, bucket)`
	if table == "rollup_mark" {
		key = `(fleet, device_id, hour)`
	}
	columns := key[1 : len(key)-1]
	res, err := t.tx.ExecContext(ctx, `DELETE FROM `+table+` WHERE `+key+` IN (SELECT `+columns+` FROM `+table+` WHERE `+
		ofTarget(target)+` LIMIT $3)`,
		target.Fleet, target.Device, n)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (t *sqliteTx) count(ctx context.Context, job, what string, n int64) error {
	return tombstone.Add(ctx, t.tx, job, what, n)
}

func (t *postgresTx) erasures(ctx context.Context) (seq int64, err error) {
	err = t.QueryRow(ctx, tombstone.SeqQuery).Scan(&seq)
	return seq, err
}

func (t *postgresTx) stones(ctx context.Context) (*tombstone.Set, error) {
	rows, err := t.Query(ctx, tombstone.StonesQuery)
	if err != nil {
		return nil, err
	}
	stones, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (s tombstone.Stone, err error) {
		var until int64
		err = row.Scan(&s.Fleet, &s.Subject, &until)
		s.Until = time.UnixMicro(until)
		return s, err
	})
	return tombstone.NewSet(stones), err
}

func (t *postgresTx) erase(ctx context.Context, target tombstone.Target, table string, n int) (int64, error) {
	key := `(fleet, device_id, bucket)`
	if table == "rollup_mark" {
		key = `(fleet, device_id, hour)`
	}
	columns := key[1 : len(key)-1]
	tag, err := t.Exec(ctx, `DELETE FROM `+table+` WHERE `+key+` IN (SELECT `+columns+` FROM `+table+` WHERE `+
		ofTarget(target)+` LIMIT $3)`,
		target.Fleet, target.Device, n)
	return tag.RowsAffected(), err
}

func (t *postgresTx) count(ctx context.Context, job, what string, n int64) error {
	if n == 0 {
		return nil
	}
	_, err := t.Exec(ctx, tombstone.AddQuery, job, what, n)
	return err
}
