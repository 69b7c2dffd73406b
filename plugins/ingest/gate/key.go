package gate

import (
	"bytes"
	"context"
	"net/http"
	"strings"

	"weir/internal/control/apikey"
	"weir/internal/event"
	"weir/internal/platform/httpx"
	"weir/internal/platform/rawjson"
)

// caller is the sender of a request: its key, its address, and the endpoint that it calls.
type caller struct {
	text string // of the key: never shown
	from string // the peer's address
	// forwarded is X-Forwarded-For, which anybody may have written
	forwarded string
	method    string
	path      string
	id        string // of the request, or of the connection's first request
}

func callerOf(w http.ResponseWriter, r *http.Request) caller {
	return caller{text: apikey.FromRequest(r), from: r.RemoteAddr, method: r.Method, path: r.URL.Path,
		id: httpx.RequestIDOf(w), forwarded: strings.Join(r.Header.Values("X-Forwarded-For"), ",")}
}

// unsurePerSec is how many requests per second whose keys cannot be checked are logged one by one,
// with id and cause. Further ones are counted.
const unsurePerSec = 10

// check returns the caller's key. The error is a *refusal when it is not one
// that may send events here, or when it cannot be checked now.
func (g *gate) check(ctx context.Context, c caller) (*apikey.Key, error) {
	key, err := g.checker.Check(ctx, c.text)
	var why *apikey.Refusal
	if err != nil {
		unchecked := apikey.Unchecked(c.text, err)
		why = &unchecked
	} else if why = key.Lacks(g.needs); why == nil {
		return key, nil
	}
	say := g.refused
	if why.Reason == apikey.ReasonUnavailable {
		say = g.unsure
	}
	say.Note(why.Reason, why.Line(c.method, c.path, c.from, c.id))
	return nil, keyRefusal(why)
}

// keyRefusal converts a refusal of a key to one of the gate.
func keyRefusal(why *apikey.Refusal) *refusal {
	p := why.Problem()
	r := &refusal{name: why.Reason, status: p.Status, title: p.Title, detail: p.Detail, extra: p.Extra}
	switch why.Reason {
	case apikey.ReasonUnauthorized:
		r.login = true
	case apikey.ReasonUnavailable:
		r.after = keysAgain
	}
	return r
}

// ofKey tells whether the refusal ends a long connection, because further requests on it would be
// refused as well.
func (r *refusal) ofKey() bool {
	return r.name == apikey.ReasonUnauthorized || r.name == apikey.ReasonForbidden || r.name == apikey.ReasonUnavailable
}

// keepToPrefix rejects the events of devices that the request's key may not send for. An event
// without a readable device is rejected, too, so that no later reader finds another device in it.
func (r *request) keepToPrefix() {
	if r.prefix == "" {
		return
	}
	for i := range r.items {
		it := &r.items[i]
		switch device := it.device(); {
		case it.bad != nil:
		case device == nil:
			it.bad = event.Reject(event.CodeInvalidEvent, "/"+event.FieldDevice, "is required, as a string")
		case !bytes.HasPrefix(device, []byte(r.prefix)):
			it.bad = event.Reject(event.CodeDeviceForbidden, "/"+event.FieldDevice, "expected a device that begins with "+
				r.prefix+", as the API key says")
		}
	}
}

// device is the event's device_id; nil when it has none that is a string.
func (it *item) device() []byte {
	if bytes.IndexByte(it.dev, '\\') >= 0 {
		return rawjson.Unquote(it.dev)
	}
	return it.dev
}
