package httpx

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

type job struct{ State string }

func TestHTTP_ARefusalSaysWhyAndIsNoOutage(t *testing.T) {
	status := http.StatusConflict
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-API-Key") != "k" {
			t.Error("the key is missing")
		}
		Write(w, Problem{Status: status, Title: "Held", Detail: "release it first"})
	}))
	defer srv.Close()
	a := API{URL: srv.URL + "/", Key: "k"}
	err := a.Call(t.Context(), http.MethodPost, "/v1/things", job{"new"}, &job{})
	if err == nil || !strings.Contains(err.Error(), "release it first") || errors.Is(err, ErrAway) {
		t.Errorf("a refusal: %v", err)
	}
	status = http.StatusServiceUnavailable
	if err := a.Call(t.Context(), http.MethodGet, "/v1/things", nil, &job{}); !errors.Is(err, ErrAway) {
		t.Errorf("a server that is not ready: %v", err)
	}
	srv.Close()
	if err := a.Call(t.Context(), http.MethodGet, "/v1/things", nil, &job{}); !errors.Is(err, ErrAway) {
		t.Errorf("no server: %v", err)
	}
}

// A job goes on without who watches it, and a restart of the server ends no
// watching.
func TestHTTP_ARestartIsWaitedForAndARefusalIsNot(t *testing.T) {
	answers := []error{nil, ErrAway, nil}
	n := 0
	get := func(context.Context) (job, error) {
		n++
		if n > len(answers) {
			return job{"done"}, nil
		}
		return job{"running"}, answers[n-1]
	}
	seen := 0
	j, err := Watch(t.Context(), time.Minute, get, func(j job) bool { return j.State == "done" }, func(job) { seen++ })
	if err != nil || j.State != "done" || seen != 3 {
		t.Errorf("%+v, seen %d times: %v", j, seen, err)
	}
	refused := errors.New("no such job")
	if _, err := Watch(t.Context(), time.Minute, func(context.Context) (job, error) { return job{}, refused },
		func(job) bool { return false }, func(job) {}); !errors.Is(err, refused) {
		t.Errorf("a refusal: %v", err)
	}
	if _, err := Watch(t.Context(), 0, func(context.Context) (job, error) { return job{}, ErrAway },
		func(job) bool { return false }, func(job) {}); !errors.Is(err, ErrAway) {
		t.Errorf("a server that stays away: %v", err)
	}
}
