package erasure

import (
	"fmt"
	"strings"
	"time"

	"weir/internal/platform/httpx"
	"weir/internal/platform/text"
)

// Client creates and watches erasures over the API, which may be down for up to five minutes while one is watched.
func Client(api httpx.API) httpx.Jobs[Spec, Erasure] {
	return httpx.Jobs[Spec, Erasure]{API: api, Path: "/v1/erasures", Noun: "erasure", Away: 5 * time.Minute,
		Ended: func(e *Erasure) bool { return e.State.Ended() }}
}

// Line describes the erasure in at most 120 characters, for a terminal.
func (e *Erasure) Line() string {
	var b strings.Builder
	if p := e.Progress; p.Steps > 0 {
		b.WriteString(text.Bar(int64(p.Step), int64(p.Steps)) + " ")
	}
	b.WriteString(string(e.State))
	switch {
	case e.Error != "":
		fmt.Fprintf(&b, ": %s", e.Error)
	case e.Progress.Doing != "":
		fmt.Fprintf(&b, ": %s", e.Progress.Doing)
	}
	if line := []rune(b.String()); len(line) > 120 {
		return string(line[:119]) + "…"
	}
	return b.String()
}
