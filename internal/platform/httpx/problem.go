package httpx

import (
	"net/http"
	"strconv"
)

// typeBase is the prefix of problem type URIs.
const typeBase = "https://weir.dev/problems/"

// Problem is an error body. Type is a stable name without typeBase.
type Problem struct {
	Type   string
	Status int
	Title  string         // the same for every problem of this type
	Detail string         // this occurrence, and what to do next
	Extra  map[string]any // extension members
}

// Write answers with the problem. The caller sets headers such as Retry-After before.
func Write(w http.ResponseWriter, p Problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	body := p.JSON()
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(p.Status)
	_, _ = w.Write(body)
}

// JSON returns the body on one line, also for protocols other than HTTP.
func (p Problem) JSON() []byte {
	body := map[string]any{}
	for k, v := range p.Extra {
		body[k] = v
	}
	body["type"], body["title"], body["status"] = typeBase+p.Type, p.Title, p.Status
	if p.Detail != "" {
		body["detail"] = p.Detail
	}
	raw, err := Encode(body)
	if err != nil { // an extension member of ours that cannot be encoded
		raw = []byte(`{"type":"about:blank","status":500}`)
	}
	return raw
}
