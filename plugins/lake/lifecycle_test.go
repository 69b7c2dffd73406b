package lake

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// bucketRules is an S3 bucket that knows lifecycle rules and nothing else.
type bucketRules struct {
	rules  string
	writes int
	code   string // of an error to answer with
}

func (b *bucketRules) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fail := func(status int, code string) {
		w.WriteHeader(status)
		fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>m</Message></Error>`, code)
	}
	switch {
	case !r.URL.Query().Has("lifecycle") || r.URL.Path != "/weir":
		fail(http.StatusBadRequest, "InvalidRequest")
	case b.code != "":
		fail(http.StatusNotImplemented, b.code)
	case r.Method == http.MethodPut:
		body, _ := io.ReadAll(r.Body)
		b.rules = string(body)
		b.writes++
	case b.rules == "":
		fail(http.StatusNotFound, "NoSuchLifecycleConfiguration")
	default:
		_, _ = io.WriteString(w, b.rules)
	}
}

func TestLifecycleRulesAreWrittenOnceAndThoseOfOthersKept(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "k")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "s")
	b := &bucketRules{rules: `<LifecycleConfiguration><Rule><ID>theirs</ID><Status>Enabled</Status><Filter><Prefix>logs/</Prefix></Filter><Expiration><Days>3</Days></Expiration></Rule></LifecycleConfiguration>`}
	server := httptest.NewServer(b)
	defer server.Close()
	ctx := context.Background()
	s := opened(t, "s3://weir/raw?region=us-east-1&use_path_style=true&endpoint="+server.URL)
	for i, want := range []Lifecycle{LifecycleWritten, LifecycleInPlace, LifecycleInPlace} {
		if got, err := s.SetLifecycle(ctx, 90*24*time.Hour, false, false); got != want || err != nil {
			t.Fatalf("run %d: %s, %v", i, got, err)
		}
	}
	for _, part := range []string{"<ID>theirs</ID>", "<Prefix>raw/date=</Prefix>", "<Days>92</Days>", "<DaysAfterInitiation>1</DaysAfterInitiation>"} {
		if !strings.Contains(b.rules, part) {
			t.Fatalf("no %s in %s", part, b.rules)
		}
	}
	if got, err := s.SetLifecycle(ctx, 90*24*time.Hour, true, false); got != LifecycleWritten || err != nil || strings.Contains(b.rules, "raw/date=") || b.writes != 2 {
		t.Fatalf("a hold does not stop the bucket from deleting: %s, %v, %s", got, err, b.rules)
	}
	b.code = "NotImplemented"
	if got, err := s.SetLifecycle(ctx, time.Hour, false, false); got != LifecycleUnsupported || err != nil {
		t.Fatal(got, err)
	}
	b.code = "AccessDenied"
	if _, err := s.SetLifecycle(ctx, time.Hour, false, false); err == nil {
		t.Fatal("a refusal was swallowed")
	}
	if got, err := opened(t, FileURL(t.TempDir())).SetLifecycle(ctx, time.Hour, false, false); got != LifecycleNone || err != nil {
		t.Fatal(got, err)
	}
}
