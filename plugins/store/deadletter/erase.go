package deadletter

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"weir/internal/event"
	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
	"weir/internal/platform/text"
	"weir/plugins/store/lake"
)

// Erasing dead letters finds those of a device by the device that was read from
// their bytes. Where none could be read, the bytes are searched: a dead letter
// of the fleet that mentions the device goes with it.

// eachName calls each with the runs of bytes that could be the id of a device,
// until it returns false.
func eachName(raw []byte, each func(name []byte) bool) {
	for i := 0; i < len(raw); i++ {
		if !tombstone.NameByte(raw[i]) {
			continue
		}
		from := i
		for i < len(raw) && tombstone.NameByte(raw[i]) {
			i++
		}
		if !each(raw[from:i]) {
			return
		}
	}
}

func mentions(r lake.Ref, device string) (found bool) {
	eachName(r.Value(colOriginal).ByteArray(), func(name []byte) bool {
		found = string(name) == device
		return !found
	})
	return found
}

// erased tells whether a dead letter is of a device or fleet that was erased
// since it was received.
func (r *Row) erased(set *tombstone.Set) (erased bool) {
	received := r.ReceivedAt
	if received == 0 {
		received = r.FailedAt
	}
	if !set.Touches(r.Fleet, received) {
		return false
	}
	if r.Device != "" || set.Holds(r.Fleet, "", received) {
		return set.Holds(r.Fleet, r.Device, received)
	}
	eachName(r.Original, func(name []byte) bool {
		erased = event.ValidDevice(string(name)) && set.Holds(r.Fleet, string(name), received)
		return !erased
	})
	return erased
}

// idOf is the id of a dead letter that is about to be erased.
func idOf(r lake.Ref) (id [16]byte) {
	copy(id[:], r.Value(colID).ByteArray())
	return id
}

// outcomesCounted is what erased outcomes are counted as.
const outcomesCounted = "dead_letter_outcomes"

func countOutcomes(ctx context.Context, db *sqldb.DB, letters [][16]byte, into map[string]int64) error {
	for some := range slices.Chunk(letters, idsAtOnce) {
		marks, args := make([]string, len(some)), make([]any, len(some))
		for i, id := range some {
			marks[i], args[i] = fmt.Sprintf("$%d", i+1), string(text.AppendUUID(nil, id))
		}
		n := int64(0)
		query := `SELECT count(*) FROM dead_letter_outcome WHERE id IN (` + strings.Join(marks, ",") + `)`
		if err := db.QueryRowContext(ctx, query, args...).Scan(&n); err != nil {
			return fmt.Errorf("counting what became of dead letters: %w", err)
		}
		into[outcomesCounted] += n
	}
	return nil
}

// eraseOutcomes deletes what became of dead letters that are about to be
// erased, and counts it once.
func eraseOutcomes(ctx context.Context, db *sqldb.DB, job string, letters [][16]byte) error {
	err := tombstone.Update(ctx, db, func(tx *sql.Tx) error {
		total := int64(0)
		for _, id := range letters {
			res, err := tx.ExecContext(ctx, `DELETE FROM dead_letter_outcome WHERE id = $1`, string(text.AppendUUID(nil, id)))
			if err != nil {
				return err
			}
			n, err := res.RowsAffected()
			if err != nil {
				return err
			}
			total += n
		}
		return tombstone.Add(ctx, tx, job, outcomesCounted, total)
	})
	if err != nil {
		return fmt.Errorf("erasing what became of dead letters: %w", err)
	}
	return nil
}
