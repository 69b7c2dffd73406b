package validate

import (
	"weir/internal/event"
	"weir/plugins/ingest/registry"
)

// Judging gives the verdicts of schema_validate outside of a stream. It is not safe for concurrent
// use.
type Judging struct{ judge *judge }

// NewJudging returns a Judging for the schemas of a set.
func NewJudging(set *registry.Set) *Judging { return &Judging{newJudge(rulesOf(set))} }

// Reject returns why an event is not valid, or nil if it is. The rejection is valid as long as the
// event's bytes.
func (j *Judging) Reject(raw []byte) *event.Rejection { return j.judge.judge(raw).Rejection }
