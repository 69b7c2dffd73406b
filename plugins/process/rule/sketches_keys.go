package rule

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"regexp"

	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/rawjson"
	"weir/internal/platform/sqldb"
)

// A rule across devices can have a key that is somebody's id, such as user.id. Its sums are then of one person, and
// contain the id itself. An erasure deletes them as those of a device's key: their results and their state, as a whole.
// Which parts of a key are ids is known by their expressions, which are also their names in results: a currency that
// reads as a device's name is left alone.

// namesOne matches expressions of keys whose values are ids of people or devices.
var namesOne = regexp.MustCompile(`\b(user\.(id|anonymous_id|person)|user_id|anonymous_id|device_id)\b`)

// namedKeys reports whether a key of the rule can be somebody's id.
func (r *Rule) namedKeys() bool {
	for _, part := range r.key {
		if namesOne.MatchString(part.name) {
			return true
		}
	}
	return false
}

// isOf reports whether a key, as a state has it, is an id.
func (r *Rule) isOf(key, id string) bool {
	raw, i := rawjson.Bytes(key), 1
	for _, part := range r.key {
		end, err := rawjson.Value(raw, i, 1)
		if err != nil { // it was written here
			break
		}
		if namesOne.MatchString(part.name) && isText(raw[i:end], id) {
			return true
		}
		i = end + 1
	}
	return false
}

func isText(raw []byte, text string) bool {
	return len(raw) > 1 && raw[0] == '"' && string(rawjson.Unquote(raw[1:len(raw)-1])) == text
}

// keyedOf returns the results across devices whose key is an id.
func keyedOf(ctx context.Context, q sqldb.Querier, fleet, id string) (all []resultKey, err error) {
	quoted := rawjson.AppendString(nil, id)
	err = sqldb.Each(ctx, q, func(row sqldb.Row) error {
		var one resultKey
		var raw sql.RawBytes
		if err := row.Scan(&one.id, &one.revision, &raw); err != nil {
			return err
		}
		var of struct{ Key map[string]json.RawMessage }
		if err := json.Unmarshal(raw, &of); err != nil {
			return err
		}
		for name, value := range of.Key {
			if namesOne.MatchString(name) && isText(bytes.TrimSpace(value), id) {
				all = append(all, one)
				break
			}
		}
		return nil
	}, `SELECT id, revision, result FROM rule_result WHERE fleet = $1 AND device_id = ''
		AND replace(result, CAST($2 AS TEXT), '') <> result`, fleet, string(quoted))
	return all, err
}

// eraseKeyed deletes the results across devices whose key is the id of a device or a person.
func eraseKeyed(ctx context.Context, tx *sql.Tx, t tombstone.Target) error {
	all, err := keyedOf(ctx, tx, t.Fleet, t.Device)
	if err != nil {
		return err
	}
	for _, one := range all {
		if _, err := tx.ExecContext(ctx, `DELETE FROM rule_result WHERE id = $1 AND revision = $2`, one.id,
			one.revision); err != nil {
			return err
		}
	}
	return tombstone.Add(ctx, tx, t.Job, countResults, int64(len(all)))
}

// eraseKeyedStates deletes the rows of keys that are the id of a device or a person. The journal is empty.
func eraseKeyedStates(ctx context.Context, tx *sql.Tx, at place, rules map[string]*Rule, t tombstone.Target) error {
	var gone [][2]string
	had := int64(0)
	if err := sqldb.Each(ctx, tx, func(row sqldb.Row) error {
		var epoch, key string
		var open bool
		err := row.Scan(&epoch, &key, &open)
		if err == nil && rules[epoch] != nil && rules[epoch].isOf(key, t.Device) {
			gone = append(gone, [2]string{epoch, key})
			had += int64(bit(open))
		}
		return err
	}, `SELECT epoch, key, length(state) > 0 FROM rule_state WHERE topic = $1 AND part = $2 AND fleet = $3
		AND device_id = ''`, at.topic, at.number, t.Fleet); err != nil {
		return err
	}
	for _, one := range gone {
		if _, err := tx.ExecContext(ctx, `DELETE FROM rule_state WHERE topic = $1 AND part = $2 AND fleet = $3 AND epoch = $4
			AND key = $5`, at.topic, at.number, t.Fleet, one[0], one[1]); err != nil {
			return fmt.Errorf("deleting the state of a key: %w", err)
		}
	}
	return tombstone.Add(ctx, tx, t.Job, countState, had)
}
