package gate

import (
	"net/http"
	"slices"
	"strconv"

	"weir/internal/event"
	"weir/internal/platform/rawjson"
	"weir/internal/platform/text"
)

// answer writes the verdict on each event. It appends JSON by hand, because it runs for each event
// that weir accepts.
func (g *gate) answer(w http.ResponseWriter, res result, minimal bool) int {
	items, rejected, status := res.items, res.rejected, res.status()
	h := w.Header()
	h["Content-Type"] = []string{typeJSON}
	buf, _ := g.replies.Get().(*[]byte)
	if buf == nil {
		buf = new([]byte)
	}
	body := (*buf)[:0]
	if minimal {
		h["Preference-Applied"] = []string{preferMinimal}
		body = appendRejections(slices.Grow(body, 64+256*len(rejected)), items, rejected)
	} else {
		body = appendVerdicts(slices.Grow(body, 64+96*len(items)+256*len(rejected)), items, rejected)
	}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that has gone will send again
	if *buf = body; cap(body) <= keptReply {
		g.replies.Put(buf)
	}
	return status
}

// keptReply is the largest buffer that is kept for the next reply.
const keptReply = 32 << 10

func (g *gate) count(items int, rejected map[int]*event.Rejection) {
	g.metrics.taken.Add(int64(items - len(rejected)))
	for _, r := range rejected {
		g.metrics.rejected.Incr(1, string(r.Code))
	}
}

// answerEmpty answers a request without events: nothing is queued.
func (g *gate) answerEmpty(w http.ResponseWriter, detail string) int {
	w.Header().Set("Content-Type", typeJSON)
	w.WriteHeader(http.StatusBadRequest)
	_, _ = w.Write(appendEmpty(nil, detail))
	return http.StatusBadRequest
}

func appendEmpty(b []byte, detail string) []byte {
	b = append(b, `{"accepted":0,"rejected":0,"events":[],"detail":`...)
	return append(rawjson.AppendString(b, detail), "}\n"...)
}

// preferMinimal is the value of Prefer (RFC 7240) with which a client asks only for rejected
// events.
const preferMinimal = "return=minimal"

// appendRejections is appendVerdicts without the accepted events.
func appendRejections(b []byte, items []item, rejected map[int]*event.Rejection) []byte {
	b = appendCounts(b, len(items), len(rejected))
	first := true
	for i := range items {
		if r := rejected[i]; r != nil {
			if !first {
				b = append(b, ',')
			}
			b, first = appendVerdict(b, i, items[i].id, r), false
		}
	}
	return append(b, "]}\n"...)
}

func appendCounts(b []byte, items, rejected int) []byte {
	b = append(b, `{"accepted":`...)
	b = strconv.AppendInt(b, int64(items-rejected), 10)
	b = append(b, `,"rejected":`...)
	b = strconv.AppendInt(b, int64(rejected), 10)
	return append(b, `,"events":[`...)
}

func appendVerdicts(b []byte, items []item, rejected map[int]*event.Rejection) []byte {
	b = appendCounts(b, len(items), len(rejected))
	for i := range items {
		if i > 0 {
			b = append(b, ',')
		}
		var r *event.Rejection
		if len(rejected) > 0 {
			r = rejected[i]
		}
		b = appendVerdict(b, i, items[i].id, r)
	}
	return append(b, "]}\n"...)
}

func appendVerdict(b []byte, index int, id []byte, r *event.Rejection) []byte {
	b = append(b, `{"index":`...)
	b = strconv.AppendInt(b, int64(index), 10)
	b = append(b, `,"event_id":`...)
	if id == nil {
		b = append(b, `null`...)
	} else {
		b = append(b, '"')
		b = append(b, id...) // plain ASCII: see scan
		b = append(b, '"')
	}
	if r == nil {
		return append(b, `,"status":202}`...)
	}
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(r.Code.Status()), 10)
	b = append(b, `,"code":"`...)
	b = append(b, r.Code...)
	b = append(b, `","errors":`...)
	errs := r.Errors
	if errs == nil {
		errs = []event.FieldError{}
	}
	if raw, err := text.JSON(errs); err == nil { // two strings each: cannot fail
		b = append(b, raw...)
	}
	return append(b, '}')
}
