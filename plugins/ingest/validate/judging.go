package validate

import (
	"weir/internal/event"
	"weir/plugins/ingest/registry"
)

// Judging gives the verdicts of schema_validate where there is no stream. It is
// not safe for concurrent use.
type Judging struct{ judge *judge }

// NewJudging judges by the schemas of a set.
func NewJudging(set *registry.Set) *Judging { return &Judging{newJudge(rulesOf(set))} }

// Reject returns why an event is not valid, nil if it is. It is valid as long as
// the event's bytes.
func (j *Judging) Reject(raw []byte) *event.Rejection { return j.judge.judge(raw).Rejection }
