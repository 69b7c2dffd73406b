package gate

import (
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"strings"

	"weir/plugins/ingest/gate/admission"
)

// form is how a body is written: how its events are separated, and its content encoding.
type form struct {
	lines    bool // NDJSON
	cloud    bool // CloudEvents
	encoding string
}

const (
	typeJSON   = "application/json"
	typeNDJSON = "application/x-ndjson"

	typeCloudEvent = "application/cloudevents+json"
	typeCloudBatch = "application/cloudevents-batch+json"
)

// formOf reads the form from the headers. A request without Content-Type is taken for JSON.
func formOf(r *http.Request) (form, *refusal) {
	var f form
	switch ct := r.Header.Get("Content-Type"); ct {
	case "", typeJSON:
	case typeNDJSON:
		f.lines = true
	default:
		mediaType, params, err := mime.ParseMediaType(ct)
		charset := strings.ToLower(params["charset"])
		if err != nil || charset != "" && charset != "utf-8" && charset != "us-ascii" {
			return f, wrongMediaType("use " + typeJSON + " or " + typeNDJSON + ", in UTF-8")
		}
		switch mediaType {
		case typeJSON:
		case typeNDJSON, "application/ndjson", "application/jsonl":
			f.lines = true
		case typeCloudEvent, typeCloudBatch:
			f.cloud = true
		default:
			return f, wrongMediaType("use " + typeJSON + ", " + typeNDJSON + " or " + typeCloudBatch)
		}
	}
	switch enc := strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding"))); enc {
	case "", encodingIdentity:
	case encodingGzip, "x-gzip":
		f.encoding = encodingGzip
	case encodingZstd:
		f.encoding = encodingZstd
	default:
		return f, wrongEncoding()
	}
	return f, nil
}

// readBody reads the whole body into a new buffer, which the messages will share. The buffer is
// never reused, because a slow output may retry its messages after the client was answered.
func (g *gate) readBody(r *http.Request, held *admission.Hold) ([]byte, *refusal) {
	limit := g.conf.limits.body
	if r.ContentLength > int64(limit) {
		return nil, bodyTooLarge(limit)
	}
	if r.ContentLength >= 0 {
		if ref := full(held.Grow(int(r.ContentLength))); ref != nil {
			return nil, ref
		}
		buf := make([]byte, r.ContentLength)
		if _, err := io.ReadFull(r.Body, buf); err != nil {
			return nil, readFailure(err)
		}
		return buf, nil
	}
	return readAll(r.Body, limit, held)
}

// readAll reads to the end or to the limit. It reserves memory in held before it allocates.
func readAll(src io.Reader, limit int, held *admission.Hold) ([]byte, *refusal) {
	var buf []byte
	for {
		if len(buf) == cap(buf) {
			next := max(4<<10, 2*cap(buf))
			next = min(next, limit+1)
			if ref := full(held.Grow(next - cap(buf))); ref != nil {
				return nil, ref
			}
			grown := make([]byte, len(buf), next)
			copy(grown, buf)
			buf = grown
		}
		n, err := src.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if len(buf) > limit {
			return nil, bodyTooLarge(limit)
		}
		if err == io.EOF {
			return buf, nil
		}
		if err != nil {
			return nil, readFailure(err)
		}
	}
}

func readFailure(err error) *refusal {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return slowBody()
	}
	return brokenBody()
}
