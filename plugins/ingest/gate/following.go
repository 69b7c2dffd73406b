package gate

import (
	"errors"
	"net/http"

	"weir/internal/platform/trace"
)

// following is a request that may be traced. Its span begins when its sender is known, so that
// requests of strangers make none.
type following struct {
	by               *trace.Provider
	name, parent, id string
	begun            bool
	span             *trace.Span
}

func (g *gate) following(name, parent, id string) *following {
	return &following{by: g.trace, name: name, parent: parent, id: id}
}

// begin returns the traceparent that the events carry. It may be called again.
func (f *following) begin() string {
	if !f.begun {
		f.begun = true
		f.span, f.parent = f.by.Begin(f.name, f.parent, f.id)
	}
	return f.parent
}

// end ends the span with the status of the answer.
func (f *following) end(res result, err error) {
	if f.span != nil {
		f.span.End(statusOf(res, err), len(res.items), len(res.rejected))
	}
}

// statusGone stands for the answer to a client that has gone.
const statusGone = 499

// statusOf returns the status of the answer to a request.
func statusOf(res result, err error) int {
	var ref *refusal
	var empty *emptyError
	switch {
	case err == nil:
		return res.status()
	case errors.As(err, &ref):
		return ref.status
	case errors.As(err, &empty):
		return http.StatusBadRequest
	}
	return statusGone
}
