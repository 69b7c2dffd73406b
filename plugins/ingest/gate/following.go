package gate

import (
	"errors"
	"net/http"

	"weir/internal/platform/trace"
)

// following is a request that may be traced. Its span begins when its sender is
// known: what strangers send makes none.
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

// end tells what became of the request.
func (f *following) end(res result, err error) {
	if f.span != nil {
		f.span.End(statusOf(res, err), len(res.items), len(res.rejected))
	}
}

// statusGone stands for an answer that nobody waited for.
const statusGone = 499

// statusOf is what a request is answered with.
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
