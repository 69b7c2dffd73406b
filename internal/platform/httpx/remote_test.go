package httpx

import (
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
	var answers []int // the status of each answer; after the last the job is done
	n, seen := 0, 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/things/7" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		if n++; n > len(answers) {
			Answer(w, http.StatusOK, job{"done"})
		} else if answers[n-1] == http.StatusOK {
			Answer(w, http.StatusOK, job{"running"})
		} else {
			Write(w, Problem{Status: answers[n-1], Title: "not now"})
		}
	}))
	defer srv.Close()
	watch := func(away time.Duration, with ...int) (*job, error) {
		answers, n, seen = with, 0, 0
		jobs := Jobs[job, job]{API: API{URL: srv.URL}, Path: "/v1/things", Noun: "thing", Away: away,
			Ended: func(j *job) bool { return j.State == "done" }}
		return jobs.Watch(t.Context(), "7", func(*job) { seen++ })
	}
	j, err := watch(time.Minute, 200, 503, 200)
	if err != nil || j.State != "done" || seen != 3 {
		t.Errorf("%+v, seen %d times: %v", j, seen, err)
	}
	if _, err := watch(time.Minute, 404); err == nil || errors.Is(err, ErrAway) ||
		!strings.Contains(err.Error(), "watching thing 7") {
		t.Errorf("a refusal: %v", err)
	}
	if _, err := watch(0, 503); !errors.Is(err, ErrAway) {
		t.Errorf("a server that stays away: %v", err)
	}
}
