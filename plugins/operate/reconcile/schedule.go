package reconcile

import (
	"context"
	"time"

	"weir/internal/platform/flow"
	"weir/internal/platform/sqldb"
)

// askedEvery is how often it is looked whether somebody asks for a run.
const askedEvery = 2 * time.Second

// openProofs opens where outcomes are kept.
func (in *input) openProofs(ctx context.Context) error {
	if in.control == "" {
		return nil
	}
	db, release, err := sqldb.Shared(ctx, in.res, in.control)
	if err != nil {
		return err
	}
	in.releases = append(in.releases, release)
	if in.proofs, err = OpenProofs(ctx, db, in.log); err != nil {
		return err
	}
	in.conf.Control, in.conf.Events = db, in.log
	return in.recall(ctx)
}

// recall tells of the proofs before this process: one that has just started has not
// forgotten when all was last explained, nor what was not.
func (in *input) recall(ctx context.Context) error {
	explained, last, err := in.proofs.latest(ctx)
	if err != nil {
		return err
	}
	if !explained.IsZero() {
		in.success.Set(explained.Unix())
	}
	if last != nil {
		in.tell(last.Total)
	}
	return nil
}

// rest returns when the next run is due, or asked for.
func (in *input) rest(ctx context.Context) error {
	for {
		left := time.Until(in.next)
		if left <= 0 {
			return ctx.Err()
		}
		if in.proofs != nil {
			left = min(left, askedEvery)
		}
		select {
		case <-time.After(left):
		case <-ctx.Done():
			return ctx.Err()
		}
		if in.proofs == nil {
			continue
		}
		if asked, err := in.proofs.wish(ctx); err == nil && asked.open() { // else the schedule stands
			return nil
		}
	}
}

// run does one reconciliation, and keeps its outcome. One that cannot be kept is
// told all the same: in metrics, and as an alert.
func (in *input) run(ctx context.Context) (*Report, error) {
	if in.proofs != nil {
		if err := in.proofs.begin(ctx, time.Now()); err != nil {
			in.res.Logger().Warnf("%v", err)
		}
	}
	report, err := in.reconciler.Run(flow.WithAside(ctx, flow.Of(in.res)), Options{Wait: in.wait})
	if in.proofs == nil || ctx.Err() != nil {
		return report, err
	}
	proof := Proof{Verdict: proofExplained, At: time.Now(), Report: report}
	switch {
	case err != nil:
		proof.Verdict, proof.Report, proof.Detail = proofFailed, nil, err.Error()
	case report.Loss():
		proof.Verdict = proofLoss
	}
	if err := in.proofs.keep(ctx, proof); err != nil {
		in.res.Logger().Warnf("%v", err)
	}
	return report, err
}
