package lake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/minio/minio-go/v7"

	"weir/tests/integration/require"
)

// s3Folder opens a store in a new folder of the bucket of the tests, and empties it after the test.
func s3Folder(t *testing.T) *Store {
	t.Helper()
	u, err := url.Parse(require.Env(t, "WEIR_TEST_S3_URL"))
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + strings.ReplaceAll(t.Name(), "/", "-") + NewName("x", noon, noon, noon).Unique
	s := opened(t, u.String())
	t.Cleanup(func() {
		var keys []string
		if err := s.List(context.Background(), "", func(b Blob) error {
			keys = append(keys, b.Key)
			return nil
		}); err != nil {
			t.Error(err)
		}
		inParallel(t, keys, func(key string) error { return s.Remove(context.Background(), key) })
	})
	return s
}

func inParallel(t *testing.T, keys []string, do func(key string) error) {
	t.Helper()
	todo := make(chan string)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for key := range todo {
				if err := do(key); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for _, key := range keys {
		todo <- key
	}
	close(todo)
	wg.Wait()
}

func TestS3_Store(t *testing.T) { suite(t, s3Folder(t)) }

func TestS3_ObjectsOfAnySizeAreWholeOrAbsent(t *testing.T) {
	s, ctx := s3Folder(t), t.Context()
	body := make([]byte, 2*partSize+12_345)
	for i := range body {
		body[i] = byte(i * i >> 7)
	}
	in := func(n int, end func() error) func(io.Writer) error {
		return func(w io.Writer) error {
			for part := range slices.Chunk(body[:n], 1_000_003) {
				if _, err := w.Write(part); err != nil {
					return err
				}
			}
			return end()
		}
	}
	whole := func() error { return nil }
	sizes := map[string]int{"empty": 0, "small": 5, "one part": partSize, "a%2Fb +ü": partSize + 1, "large": len(body)}
	for key, size := range sizes {
		if err := s.put(ctx, "d/"+key, in(size, whole)); err != nil {
			t.Fatal(err)
		}
	}
	failure := errors.New("encoding failed")
	for _, size := range []int{5, partSize + 1, len(body)} {
		if err := s.put(ctx, "d/broken", in(size, func() error { return failure })); !errors.Is(err, failure) {
			t.Fatalf("got %v", err)
		}
		stopped, cancel := context.WithCancel(ctx)
		err := s.put(stopped, "d/late", in(size, func() error { cancel(); return nil }))
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
	}
	if err := s.List(ctx, "d", func(b Blob) error {
		key := strings.TrimPrefix(b.Key, "d/")
		size, ok := sizes[key]
		delete(sizes, key)
		if !ok || int64(size) != b.Size {
			return fmt.Errorf("%s has %d bytes", b.Key, b.Size)
		}
		r, err := s.Open(ctx, b)
		if err != nil {
			return err
		}
		got := make([]byte, size)
		if _, err := r.ReadAt(got, 0); err != nil && !errors.Is(err, io.EOF) || !bytes.Equal(got, body[:size]) {
			return fmt.Errorf("%s was read with other bytes than were written: %w", b.Key, err)
		}
		return nil
	}); err != nil || len(sizes) > 0 {
		t.Fatalf("%v; missing %v", err, sizes)
	}
	store := s.backend.(*s3Store)
	for left := range store.client.ListIncompleteUploads(ctx, store.bucket, store.prefix, true) {
		t.Errorf("an unfinished upload was left: %+v", left)
	}
}

func TestS3_ListsPageAfterPageAndSaysWhenItWasStopped(t *testing.T) {
	s, ctx := s3Folder(t), t.Context()
	var keys []string
	for i := range 1_100 { // a page has 1,000
		keys = append(keys, fmt.Sprintf("d/%04d/x", i))
	}
	inParallel(t, keys, func(key string) error { return s.PutBytes(ctx, key, nil) })
	var got []string
	if err := s.List(ctx, "d", func(b Blob) error {
		got = append(got, b.Key)
		return nil
	}); err != nil || !slices.Equal(got, keys) {
		t.Fatalf("%d keys, %v", len(got), err)
	}
	folders, err := s.Folders(ctx, "d")
	if err != nil || len(folders) != len(keys) || !slices.IsSorted(folders) {
		t.Fatalf("%d folders, %v", len(folders), err)
	}
	stopped, cancel := context.WithCancel(ctx)
	if err := s.List(stopped, "d", func(Blob) error { cancel(); return nil }); !errors.Is(err, context.Canceled) {
		t.Fatalf("a listing that was cancelled does not return its error: %v", err)
	}
}

// answering is an S3 server that answers with given errors, and records its requests.
type answering struct {
	*httptest.Server
	mu    sync.Mutex
	codes []string // of the errors that answer the first requests; the others succeed
	asked []*http.Request
}

func newAnswering(t *testing.T, codes ...string) *answering {
	a := &answering{codes: codes}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		a.mu.Lock()
		defer a.mu.Unlock()
		a.asked = append(a.asked, r)
		if len(a.codes) == 0 {
			return
		}
		code := a.codes[0]
		a.codes = a.codes[1:]
		status := map[string]int{"SlowDown": 503, "InternalError": 500, "AccessDenied": 403}[code]
		if status == 0 {
			status = http.StatusNotFound
		}
		w.WriteHeader(status)
		fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>m</Message></Error>`, code)
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *answering) url(more string) string {
	return "s3://bkt/p?region=eu-central-1&use_path_style=true&endpoint=" + a.URL + more
}

func TestS3_RequestsAreTriedAgainWhenTheServerMayRecover(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "k")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "s")
	for _, c := range []struct {
		codes []string
		asked int
		fails bool
	}{
		{nil, 1, false},
		{[]string{"SlowDown", "InternalError"}, 3, false},
		{[]string{"SlowDown", "SlowDown", "SlowDown"}, s3Attempts, true},
		{[]string{"AccessDenied"}, 1, true},
	} {
		a := newAnswering(t, c.codes...)
		err := opened(t, a.url("")).PutBytes(t.Context(), "x", []byte("body"))
		if (err != nil) != c.fails || len(a.asked) != c.asked {
			t.Errorf("%v: asked %d times, %v", c.codes, len(a.asked), err)
		}
		for _, r := range a.asked {
			if r.Method != http.MethodPut || r.URL.Path != "/bkt/p/x" || r.Header.Get("Content-Md5") == "" {
				t.Errorf("asked %s %s with %v", r.Method, r.URL, r.Header)
			}
		}
	}
}

func TestS3_OnlyAMissingObjectIsNotFound(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "k")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "s")
	for code, want := range map[string]bool{"NoSuchKey": true, "NoSuchBucket": false, "AccessDenied": false} {
		r, err := opened(t, newAnswering(t, code).url("")).Open(t.Context(), Blob{"x", 5})
		if err == nil {
			_, err = r.ReadAt(make([]byte, 1), 0)
		}
		if err == nil || errors.Is(err, ErrNotFound) != want {
			t.Errorf("%s: %v", code, err)
		}
	}
}

func TestS3_BucketsAreNamedInTheHostUnlessInThePath(t *testing.T) {
	for host, want := range map[string]minio.BucketLookupType{
		"s3.amazonaws.com": minio.BucketLookupAuto, "minio.example:9000": minio.BucketLookupDNS,
		"127.0.0.1:9000": minio.BucketLookupPath, "[::1]:9000": minio.BucketLookupPath, "10.0.0.1": minio.BucketLookupPath,
	} {
		if got := (&s3Query{}).lookup(host); got != want {
			t.Errorf("%s: %v", host, got)
		}
		if got := (&s3Query{pathStyle: true}).lookup(host); got != minio.BucketLookupPath {
			t.Errorf("%s, in the path: %v", host, got)
		}
	}
}

func TestS3_EncryptionIsAskedFor(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "k")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "s")
	for query, want := range map[string][2]string{
		"": {}, "&ssetype=AES256": {"AES256", ""}, "&ssetype=aws:kms": {"aws:kms", ""},
		"&kmskeyid=key": {"aws:kms", "key"}, "&ssetype=aws:kms&kmskeyid=key": {"aws:kms", "key"},
	} {
		a := newAnswering(t)
		if err := opened(t, a.url(query)).PutBytes(t.Context(), "x", []byte("body")); err != nil {
			t.Fatal(err)
		}
		h := a.asked[0].Header
		got := [2]string{h.Get("X-Amz-Server-Side-Encryption"), h.Get("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id")}
		if got != want {
			t.Errorf("%s: %v", query, got)
		}
	}
}
