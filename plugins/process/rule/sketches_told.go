package rule

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/rawjson"
	"weir/internal/platform/sqldb"
)

// listedMost bounds the results that are read at a time.
const listedMost = 500

// changeTo is a result that names somebody, or may.
type changeTo struct {
	resultKey
	gone bool   // it is to be deleted
	text string // else: what it is to be
}

func (c changeTo) what() string {
	if c.gone {
		return countResults
	}
	return countSketches
}

// nextOfAll goes through rule_result_of_all.
const nextOfAll = `SELECT id, revision, result FROM rule_result WHERE fleet = $1 AND device_id = ''
	AND (id, revision) > ($2, $3) ORDER BY id, revision LIMIT %d`

// look reads the next results of all devices of the fleet, in the order of their keys, and returns those that are to
// change. more tells whether there may be others behind them. It locks nothing.
func (f *forgetting) look(ctx context.Context) (all []changeTo, more bool, err error) {
	n := 0
	err = sqldb.Each(ctx, f.db, func(row sqldb.Row) error {
		var raw sql.RawBytes
		if err := row.Scan(&f.after.id, &f.after.revision, &raw); err != nil {
			return err
		}
		n++
		one, is, err := f.of(f.after, raw)
		if is {
			all = append(all, one)
		}
		return err
	}, fmt.Sprintf(nextOfAll, listedMost), f.Fleet, f.after.id, f.after.revision)
	return all, n == listedMost, err
}

// told changes results. Each is looked at again under its lock: another erasure may have changed it.
func (f *forgetting) told(ctx context.Context, tx *sql.Tx, all []changeTo) error {
	counts := map[string]int64{}
	for _, one := range all {
		var raw []byte
		err := tx.QueryRowContext(ctx, `SELECT result FROM rule_result WHERE id = $1 AND revision = $2`+f.db.ForUpdate(),
			one.id, one.revision).Scan(&raw)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return err
		}
		now, is, err := f.of(one.resultKey, raw)
		switch {
		case err != nil:
			return err
		case !is:
			continue
		case now.gone:
			_, err = tx.ExecContext(ctx, `DELETE FROM rule_result WHERE id = $1 AND revision = $2`, now.id, now.revision)
		default:
			_, err = tx.ExecContext(ctx, `UPDATE rule_result SET result = $3 WHERE id = $1 AND revision = $2`, now.id,
				now.revision, now.text)
		}
		if err != nil {
			return err
		}
		counts[now.what()]++
	}
	for _, what := range slices.Sorted(maps.Keys(counts)) { // in an order, as others lock these rows too
		n := counts[what]
		if err := tombstone.Add(ctx, tx, f.Job, what, n); err != nil {
			return err
		}
	}
	return nil
}

// of returns what is to become of a result; is is false if it stays as it is.
func (f *forgetting) of(key resultKey, raw []byte) (_ changeTo, is bool, err error) {
	sum, err := readSum(raw)
	if err != nil || sum.start > f.begun {
		return changeTo{}, false, err
	}
	if f.names(sum.key) {
		return changeTo{resultKey: key, gone: true}, true, nil
	}
	if len(sum.sketches) > 0 {
		f.text = append(f.text[:0], raw...)
	}
	for _, at := range sum.sketches {
		is = f.forgetText(f.text[at[0]:at[1]]) || is
	}
	if !is {
		return changeTo{}, false, nil
	}
	return changeTo{resultKey: key, text: string(bytes.ReplaceAll(f.text, []byte{taken}, nil))}, true, nil
}

// sumText is what an erasure looks at of a result: positions in its JSON, and the start of its window, 0 without one.
type sumText struct {
	start    int64
	key      []byte
	sketches [][2]int
}

// readSum reads a result of all devices. Strings among its values are sketches: nothing else is one there.
func readSum(raw []byte) (sum sumText, err error) {
	_, err = rawjson.Object(raw, 0, 0, func(name []byte, _ bool, i int) (int, error) {
		if string(name) == "values" {
			return rawjson.Object(raw, i, 1, func(_ []byte, _ bool, i int) (int, error) {
				end, err := rawjson.Value(raw, i, 2)
				if err == nil && raw[i] == '"' {
					sum.sketches = append(sum.sketches, [2]int{i + 1, end - 1})
				}
				return end, err
			})
		}
		end, err := rawjson.Value(raw, i, 1)
		switch {
		case err != nil:
		case string(name) == "key":
			sum.key = raw[i:end]
		case string(name) == "window_start":
			var start time.Time
			start, err = time.Parse(`"`+time.RFC3339Nano+`"`, string(raw[i:end]))
			sum.start = start.UnixMicro()
		}
		return end, err
	})
	if err != nil {
		return sum, fmt.Errorf("reading a result: %w", err)
	}
	return sum, nil
}

// taken stands in the place of what is to be left out of a result's text. No JSON has it.
const taken = 0

// forgetText removes the name from the text of a sketch, and reports whether that changed it.
func (f *forgetting) forgetText(text []byte) (changed bool) {
	switch {
	case len(text) == 1+registers && text[0] == 'r':
		return forgetRegister(text[1:], registerText, f.hash)
	case len(text)%16 == 1 && text[0] == 'h':
		hash := fmt.Sprintf("%016x", f.hash)
		for i := 1; i < len(text); i += 16 {
			if one := text[i : i+16]; string(one) == hash {
				clear(one)
				changed = true
			}
		}
	}
	return changed
}
