package lake

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"weir/internal/platform/calls"
)

// Kinds of calls to S3. Requests of multipart uploads are put, requests about the bucket are
// other.
const (
	callGet    = "get"
	callPut    = "put"
	callList   = "list"
	callDelete = "delete"
	callHead   = "head"
	callOther  = "other"
)

// s3Calls measures each request to S3, including retries: from its start until the header of the
// response has arrived.
type s3Calls struct {
	*http.Transport
	meter *calls.Meter
}

// s3Error is a response that counts as an error of the server. That an object exists or does not
// exist, or that the server does not support a request, does not.
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

// RoundTrip implements http.RoundTripper.
func (t *s3Calls) RoundTrip(r *http.Request) (*http.Response, error) {
	began := time.Now()
	res, err := t.Transport.RoundTrip(r)
	failed := err
	if err == nil && failure(res.StatusCode) && !(res.StatusCode == http.StatusForbidden && ofVersions(r.URL.Query())) {
		failed = s3Error(res.StatusCode)
	}
	if !errors.Is(r.Context().Err(), context.Canceled) { // otherwise the caller has given up
		t.meter.Note(kindOf(r), began, failed)
	}
	return res, err
}

// ofVersions reports whether a request asks for versions. weir does not need the permission for
// that.
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
