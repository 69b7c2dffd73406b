package lake

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"weir/internal/platform/calls"
)

func TestS3Calls_KindFollowsFromTheRequest(t *testing.T) {
	for _, is := range []struct{ method, query, want string }{
		{"GET", "", callGet}, {"PUT", "", callPut}, {"HEAD", "", callHead}, {"DELETE", "", callDelete},
		{"GET", "?list-type=2&prefix=a", callList}, {"POST", "?uploads=", callPut},
		{"PUT", "?partNumber=1&uploadId=x", callPut},
		{"POST", "?uploadId=x", callPut}, {"GET", "?location=", callOther}, {"PUT", "?lifecycle=", callOther},
		{"GET", "?versioning=", callOther}, {"GET", "?versions=&prefix=a", callList},
	} {
		r, err := http.NewRequest(is.method, "http://s3.test/bucket/key"+is.query, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := kindOf(r); got != is.want {
			t.Errorf("%s %s is a %s, want %s", is.method, is.query, got, is.want)
		}
	}
}

// The meter is told the kind of each request, and whether it failed. A missing object is not a
// failure.
func TestS3Calls_EveryRequestIsMetered(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			w.WriteHeader(http.StatusForbidden)
		} else {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer server.Close()
	var told []string
	meter := &calls.Meter{Tell: func(kind string, _ time.Duration, failed bool) {
		told = append(told, fmt.Sprint(kind, " ", failed))
	}}
	s, err := openStore("s3://bucket?region=here&anonymous=true&use_path_style=true&endpoint="+server.URL, nil,
		func() *calls.Meter { return meter })
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, err := s.Open(t.Context(), Blob{Key: "a", Size: 10})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.ReadAt(make([]byte, 10), 0); err == nil {
		t.Error("reading a missing object returned no error")
	}
	if err := s.Remove(t.Context(), "a"); err == nil {
		t.Error("a forbidden deletion returned no error")
	}
	if want := []string{"get false", "delete true"}; !slices.Equal(told, want) {
		t.Errorf("the meter was told %q, want %q", told, want)
	}
}
