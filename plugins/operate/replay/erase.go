package replay

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
	"weir/plugins/operate/recount"
)

// countJobs is what jobs that spoke of an erased device are counted as.
const countJobs = "replay_jobs"

// countNaming tells how many jobs speak of a device, or, for "", of a fleet's devices.
func countNaming(ctx context.Context, db *sqldb.DB, fleet, device string) (map[string]int64, error) {
	if _, err := OpenStore(ctx, db); err != nil {
		return nil, err
	}
	n := int64(0)
	err := tombstone.Update(ctx, db, func(tx *sql.Tx) (err error) {
		jobs, err := naming(ctx, tx, fleet, device, ``)
		n = int64(len(jobs))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("counting replays: %w", err)
	}
	return map[string]int64{countJobs: n}, nil
}

// erase takes the names and samples of a device, or of a fleet's devices, out of
// the list of jobs, and cancels what would replay nothing else. A job that has
// ended forgets where it was; one that has not, and stands at the device, begins
// again, which counts nothing twice: an enrich, which finds there what it kept
// before, forgets its account, too. It is one transaction, may be run again,
// and counts each job once. A job that runs may write down once more what it has
// found: run it again.
func erase(ctx context.Context, db *sqldb.DB, t tombstone.Target) error {
	s, err := OpenStore(ctx, db)
	if err != nil {
		return err
	}
	err = tombstone.Update(ctx, db, func(tx *sql.Tx) error {
		jobs, err := naming(ctx, tx, t.Fleet, t.Device, db.ForUpdate())
		if err != nil {
			return err
		}
		for _, j := range jobs {
			if err := s.forget(ctx, tx, j, t); err != nil {
				return err
			}
		}
		return tombstone.Add(ctx, tx, t.Job, countJobs, int64(len(jobs)))
	})
	if err != nil {
		return fmt.Errorf("erasing from replays: %w", err)
	}
	return nil
}

// named is a job that speaks of a device.
type named struct {
	id, state, reason, progress, position string
	spec                                  Spec
	result                                Result
}

// naming finds the jobs that speak of a device, or of a fleet's devices, in the
// order of their ids; lock ends the query.
func naming(ctx context.Context, tx *sql.Tx, fleet, device, lock string) (jobs []*named, err error) {
	err = sqldb.Each(ctx, tx, func(row sqldb.Row) error {
		var j named
		var spec, result string
		if err := row.Scan(&j.id, &j.state, &j.reason, &j.progress, &j.position, &spec, &result); err != nil {
			return err
		}
		if err := errors.Join(json.Unmarshal([]byte(spec), &j.spec), json.Unmarshal([]byte(result), &j.result)); err != nil {
			return err
		}
		if j.speaks(fleet, device) {
			jobs = append(jobs, &j)
		}
		return nil
	}, `SELECT id, state, error, progress, position, spec, result FROM replay_job ORDER BY id`+lock)
	return jobs, err
}

// gone tells whether a device is to be forgotten; a job without a fleet may
// mean any.
func gone(t tombstone.Target, fleet, device string) bool {
	return (fleet == "" || fleet == t.Fleet) && (t.Device == "" || device == t.Device)
}

func (j *named) speaks(fleet, device string) bool {
	t := tombstone.Target{Fleet: fleet, Device: device}
	if j.spec.Fleet != "" && j.spec.Fleet != fleet {
		return false
	}
	if device == "" && j.spec.Fleet == "" { // of all fleets: its list is nobody's in particular
		return j.tells(t)
	}
	return slices.ContainsFunc(j.spec.Devices, func(d string) bool { return gone(t, j.spec.Fleet, d) }) || j.tells(t) ||
		device == "" && j.position != "null" && State(j.state) != Running ||
		device != "" && (strings.Contains(j.position, `"`+device+`"`) || j.mentions(device))
}

func (j *named) mentions(device string) bool {
	text := j.spec.Reason + "\n" + j.spec.Patch + "\n" + j.reason
	return tombstone.Without(text, device, "") != text
}

// tells whether the job's result does.
func (j *named) tells(t tombstone.Target) bool {
	return slices.ContainsFunc(j.result.Left, func(w recount.Window) bool { return gone(t, w.Fleet, w.Device) }) ||
		j.result.Preview != nil && slices.ContainsFunc(j.result.Preview.Samples, func(x Sample) bool { return x.speaks(t) })
}

func (x *Sample) speaks(t tombstone.Target) bool {
	return gone(t, x.Fleet, x.Device) || x.Fleet == t.Fleet && t.Device != "" &&
		strings.Contains(x.Original+x.Message+x.Problem, t.Device)
}

func (s *Store) forget(ctx context.Context, tx *sql.Tx, j *named, t tombstone.Target) error {
	state, progress, position := State(j.state), j.progress, j.position
	if t.Device != "" || j.spec.Fleet == t.Fleet {
		some := len(j.spec.Devices) > 0
		j.spec.Devices = slices.DeleteFunc(j.spec.Devices, func(d string) bool { return gone(t, j.spec.Fleet, d) })
		if some && len(j.spec.Devices) == 0 && state != Done { // without a list it would replay all devices
			state = Cancelled
		}
		if state != Running || strings.Contains(position, `"`+t.Device+`"`) {
			position = "null"
			if j.spec.Mode == Enrich && state != Done && state != Cancelled {
				progress = "{}"
			}
		}
	}
	j.result.Left = slices.DeleteFunc(j.result.Left, func(w recount.Window) bool { return gone(t, w.Fleet, w.Device) })
	if p := j.result.Preview; p != nil {
		p.Samples = slices.DeleteFunc(p.Samples, func(x Sample) bool { return x.speaks(t) })
	}
	if t.Device != "" {
		for _, text := range []*string{&j.spec.Reason, &j.spec.Patch, &j.reason} {
			*text = tombstone.Without(*text, t.Device, "(erased)")
		}
	}
	spec, err := json.Marshal(j.spec)
	result, err2 := json.Marshal(j.result)
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE replay_job SET spec = $2, result = $3, position = $4, state = $5, error = $6,
		ended_at = CASE WHEN $5 = 'cancelled' AND ended_at = 0 THEN $7 ELSE ended_at END, progress = $8 WHERE id = $1`,
		j.id, string(spec), string(result), position, string(state), j.reason, s.now().UnixMicro(), progress)
	return err
}
