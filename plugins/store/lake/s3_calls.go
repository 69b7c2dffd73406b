package lake

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"weir/internal/platform/calls"
)

// The kinds of calls of S3. Multi-part uploads are put; what a bucket is asked
// about itself is other.
const (
	callGet    = "get"
	callPut    = "put"
	callList   = "list"
	callDelete = "delete"
	callHead   = "head"
	callOther  = "other"
)

// s3Calls notes each request to S3, tries that are repeated too: from its start
// until the answer's head is there.
type s3Calls struct {
	*http.Transport
	meter *calls.Meter
}

// s3Error is an answer that is an error of the store's. That an object is there or is
// not is none, nor that a server of this protocol does not know a request.
type s3Error int

func failure(status int) bool {
	switch status {
	case http.StatusNotFound, http.StatusConflict, http.StatusPreconditionFailed, http.StatusMethodNotAllowed,
		http.StatusNotImplemented:
		return false
	}
	return status >= http.StatusBadRequest
}

func (e s3Error) Error() string { return http.StatusText(int(e)) }

// RoundTrip is http.RoundTripper's.
func (t *s3Calls) RoundTrip(r *http.Request) (*http.Response, error) {
	began := time.Now()
	res, err := t.Transport.RoundTrip(r)
	failed := err
	if err == nil && failure(res.StatusCode) && !(res.StatusCode == http.StatusForbidden && ofVersions(r.URL.Query())) {
		failed = s3Error(res.StatusCode)
	}
	if !errors.Is(r.Context().Err(), context.Canceled) { // else nobody waits any more
		t.meter.Note(kindOf(r), began, failed)
	}
	return res, err
}

// ofVersions tells whether a request asks for versions, which weir may, and need not
// be allowed to see.
func ofVersions(q url.Values) bool { return q.Has("versioning") || q.Has("versions") }

func kindOf(r *http.Request) string {
	q := r.URL.Query()
	switch {
	case q.Has("list-type"), q.Has("versions"):
		return callList
	case q.Has("versioning"), q.Has("lifecycle") || q.Has("location") || q.Has("uploads") && r.Method == http.MethodGet:
		return callOther
	}
	switch r.Method {
	case http.MethodGet:
		return callGet
	case http.MethodHead:
		return callHead
	case http.MethodDelete:
		return callDelete
	case http.MethodPut, http.MethodPost:
		return callPut
	}
	return callOther
}
