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

// An erasure finds the dead letters of a device by the device that was read from their bytes. Where
// none could be read, the bytes are searched: a dead letter of the fleet that mentions the device
// is erased. Those of a person are found by the names in their bytes (names.go), whatever their
// device is.

func mentions(r lake.Ref, device string) (found bool) {
	eachRun(r.Value(colOriginal).ByteArray(), tombstone.NameByte, func(name []byte) bool {
		found = string(name) == device
		return !found
	})
	return found
}

func names(r lake.Ref, person string) (found bool) {
	eachPerson(r.Value(colOriginal).ByteArray(), r.Value(colDevice).IsNull(), func(name []byte) bool {
		found = string(name) == person
		return !found
	})
	return found
}

// erased reports whether a dead letter belongs to a device or fleet, or names a person, that was
// erased after the dead letter was received.
func (r *Row) erased(set *tombstone.Set) (erased bool) {
	received := r.ReceivedAt
	if received == 0 {
		received = r.FailedAt
	}
	if !set.Touches(r.Fleet, received) {
		return false
	}
	if set.Holds(r.Fleet, r.Device, received) {
		return true
	}
	if r.Device == "" {
		eachRun(r.Original, tombstone.NameByte, func(name []byte) bool {
			erased = event.ValidDevice(string(name)) && set.Holds(r.Fleet, string(name), received)
			return !erased
		})
	}
	if !erased {
		eachPerson(r.Original, r.Device == "", func(name []byte) bool {
			erased = len(name) <= nameMost && set.HoldsName(r.Fleet, string(name), received)
			return !erased
		})
	}
	return erased
}

// idOf returns the id of a row that is about to be erased.
func idOf(r lake.Ref) (id [16]byte) {
	copy(id[:], r.Value(colID).ByteArray())
	return id
}

// outcomesCounted is the name under which erased outcomes are counted.
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

// eraseOutcomes deletes the outcomes of dead letters that are about to be erased, and counts each
// once.
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
