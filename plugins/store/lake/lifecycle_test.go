package lake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"weir/internal/lifecycle/expire"
)

// bucketRules is an S3 server that stores the lifecycle rules of one bucket, and refuses all other
// requests.
type bucketRules struct {
	rules  string
	writes int
	code   string // if set, the code of the error that answers requests for rules
}

func (b *bucketRules) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fail := func(status int, code string) {
		w.WriteHeader(status)
		fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>m</Message></Error>`, code)
	}
	switch {
	case !r.URL.Query().Has("lifecycle") || strings.Trim(r.URL.Path, "/") != "weir":
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

func TestLake_LifecycleRulesAreWrittenOnceAndThoseOfOthersKept(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "k")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "s")
	const transitions = "<Transition><Days>1</Days><StorageClass>GLACIER_IR</StorageClass></Transition>" +
		"<Transition><Days>2</Days><StorageClass>DEEP_ARCHIVE</StorageClass></Transition>"
	b := &bucketRules{rules: `<?xml version="1.0"?><LifecycleConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">` +
		`<Rule><ID>theirs</ID><Status>Enabled</Status><Filter><Prefix>logs/</Prefix></Filter><Expiration><Days>3</Days></Expiration>` +
		transitions + `</Rule></LifecycleConfiguration>`}
	server := httptest.NewServer(b)
	defer server.Close()
	ctx := context.Background()
	s := opened(t, "s3://weir/raw?region=us-east-1&use_path_style=true&endpoint="+server.URL)
	for i, want := range []Lifecycle{LifecycleWritten, LifecycleInPlace, LifecycleInPlace} {
		if got, err := s.setLifecycle(ctx, 90*24*time.Hour, false, false); got != want || err != nil {
			t.Fatalf("run %d: %s, %v", i, got, err)
		}
	}
	for _, part := range []string{"<ID>theirs</ID>", transitions, "<Prefix>raw/date=</Prefix>", "<Days>92</Days>",
		"<DaysAfterInitiation>1</DaysAfterInitiation>"} {
		if !strings.Contains(b.rules, part) {
			t.Fatalf("no %s in %s", part, b.rules)
		}
	}
	if got, err := s.setLifecycle(ctx, 90*24*time.Hour, true, false); got != LifecycleWritten || err != nil ||
		strings.Contains(b.rules, "raw/date=") || b.writes != 2 {
		t.Fatalf("with a hold, the bucket still has a rule that deletes objects: %s, %v, %s", got, err, b.rules)
	}
	b.code = "NotImplemented"
	if got, err := s.setLifecycle(ctx, time.Hour, false, false); got != LifecycleUnsupported || err != nil {
		t.Fatal(got, err)
	}
	b.code = "AccessDenied"
	if _, err := s.setLifecycle(ctx, time.Hour, false, false); err == nil {
		t.Fatal("AccessDenied was not returned as an error")
	}
	if got, err := opened(t, FileURL(t.TempDir())).setLifecycle(ctx, time.Hour, false, false); got != LifecycleNone ||
		err != nil {
		t.Fatal(got, err)
	}
}

func bucketOf(t *testing.T, b *bucketRules) *Store {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "k")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "s")
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	return opened(t, "s3://weir/raw?region=us-east-1&use_path_style=true&endpoint="+server.URL)
}

func TestLake_ARuleOfOthersThatDeletesTooEarlyIsNamedAndLeft(t *testing.T) {
	rule := func(inside string) string {
		return `<LifecycleConfiguration><Rule><ID>theirs</ID><Status>Enabled</Status>` + inside +
			`</Rule></LifecycleConfiguration>`
	}
	days := func(n int) string { return fmt.Sprintf("<Expiration><Days>%d</Days></Expiration>", n) }
	all := "<Filter><Prefix></Prefix></Filter>"
	for name, c := range map[string]struct {
		rule string
		held bool
		want bool // an error
	}{
		"of the whole bucket, too early":  {rule(all + days(30)), false, true},
		"of our objects, too early":       {rule("<Filter><Prefix>raw/date=2026</Prefix></Filter>" + days(30)), false, true},
		"late enough":                     {rule(all + days(91)), false, false},
		"late enough, but a fleet's held": {rule(all + days(91)), true, true},
		"of tombstones, too early":        {rule("<Filter><Prefix>raw/_erased/</Prefix></Filter>" + days(30)), false, true},
		"of tombstones, late enough":      {rule("<Filter><Prefix>raw/_erased/</Prefix></Filter>" + days(91)), false, false},
		"of duplicates, too early":        {rule("<Filter><Prefix>raw/_dup</Prefix></Filter>" + days(30)), false, true},
		"of unfinished objects":           {rule("<Filter><Prefix>raw/_tmp/</Prefix></Filter>" + days(1)), true, false},
		"of other objects":                {rule("<Filter><Prefix>logs/</Prefix></Filter>" + days(1)), true, false},
		"of objects with a tag": {rule("<Filter><And><Prefix></Prefix><Tag><Key>k</Key><Value>v</Value></Tag>" +
			"</And></Filter>" + days(1)), true, false},
		"of unfinished uploads": {rule(all +
			"<AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation>" +
			"</AbortIncompleteMultipartUpload>"), true, false},
		"on a fixed date": {rule(all + "<Expiration><Date>2026-12-01T00:00:00Z</Date></Expiration>"), false,
			true},
		"with the older form of a prefix": {rule("<Prefix>raw/</Prefix>" + days(3)), false, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := &bucketRules{rules: c.rule}
			got, err := bucketOf(t, b).setLifecycle(t.Context(), 90*24*time.Hour, c.held, false)
			if (err != nil) != c.want || got != LifecycleWritten {
				t.Fatalf("%s, %v", got, err)
			}
			if err != nil && !strings.Contains(err.Error(), `"theirs"`) || !strings.Contains(b.rules, "<ID>theirs</ID>") {
				t.Fatalf("%v: %s", err, b.rules)
			}
		})
	}
}

func TestLake_AHoldTakesTheBucketsRuleOutWhateverElseFails(t *testing.T) {
	b := &bucketRules{}
	s := bucketOf(t, b) // it refuses to list objects, so retention fails each time
	held, away := []string(nil), error(nil)
	p := expire.Pass{Now: time.Now(), Held: func(context.Context) ([]string, error) { return held, away }}
	duty := Duty{Keep: 90 * 24 * time.Hour, Lifecycle: true}
	if done, err := duty.Do(t.Context(), s, p); err == nil || done.Lifecycle != LifecycleWritten ||
		!strings.Contains(b.rules, "raw/date=") {
		t.Fatalf("%+v, %v: %s", done, err, b.rules)
	}
	away = errors.New("the control store is down")
	if done, err := duty.Do(t.Context(), s, p); err == nil || done.Lifecycle != "" || b.writes != 1 {
		t.Fatalf("rules were changed although the holds could not be read: %+v, %v", done, err)
	}
	held, away = []string{"acme"}, nil
	p.DryRun = true
	if done, _ := duty.Do(t.Context(), s, p); done.Lifecycle != LifecycleWrong || b.writes != 1 {
		t.Fatalf("a dry run: %+v", done)
	}
	p.DryRun = false
	if done, err := duty.Do(t.Context(), s, p); err == nil || done.Lifecycle != LifecycleWritten ||
		strings.Contains(b.rules, "raw/date=") {
		t.Fatalf("%+v, %v: %s", done, err, b.rules)
	}
}
