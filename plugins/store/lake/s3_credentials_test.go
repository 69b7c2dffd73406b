package lake

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
)

// withoutCredentials hides all credentials of this machine from the test, and returns an empty home
// directory.
func withoutCredentials(t *testing.T) (home string) {
	t.Helper()
	home = t.TempDir()
	for _, line := range os.Environ() {
		if name, _, _ := strings.Cut(line, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
		}
	}
	t.Setenv("HOME", home)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	return home
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
}

func TestS3Credentials_AreFoundWhereAWSToolsLook(t *testing.T) {
	keys := func(id string) string { return "aws_access_key_id = " + id + "\naws_secret_access_key = s\n" }
	role := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"AccessKeyId":"role","SecretAccessKey":"s","Token":"token","Code":"Success","Expiration":%q}`,
			time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	defer role.Close()
	for _, c := range []struct {
		name, want, query string
		prepare           func(t *testing.T, home string)
	}{
		{"environment", "env", "", func(t *testing.T, home string) {
			t.Setenv("AWS_ACCESS_KEY_ID", "env")
			t.Setenv("AWS_SECRET_ACCESS_KEY", "s")
			writeFile(t, home+"/.aws/credentials", "[default]\n"+keys("file"))
			t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", role.URL)
		}},
		{"shared file", "file", "", func(t *testing.T, home string) {
			writeFile(t, home+"/.aws/credentials", "[default]\n"+keys("file")+"[other]\n"+keys("other"))
		}},
		{"profile by the environment, file elsewhere", "other", "", func(t *testing.T, home string) {
			writeFile(t, home+"/keys", "[default]\n"+keys("file")+"[other]\n"+keys("other"))
			t.Setenv("AWS_SHARED_CREDENTIALS_FILE", home+"/keys")
			t.Setenv("AWS_PROFILE", "other")
		}},
		{"profile by the URL", "other", "&profile=other", func(t *testing.T, home string) {
			t.Setenv("AWS_ACCESS_KEY_ID", "env")
			t.Setenv("AWS_SECRET_ACCESS_KEY", "s")
			writeFile(t, home+"/.aws/config", "[profile other]\n"+keys("other"))
		}},
		{"program that a profile names", "program", "", func(t *testing.T, home string) {
			writeFile(t, home+"/say", `#!/bin/sh
echo '{"Version":1,"AccessKeyId":"program","SecretAccessKey":"s"}'
`)
			writeFile(t, home+"/.aws/config", "[default]\ncredential_process = "+home+"/say it\n")
		}},
		{"role of a pod, before the file", "role", "", func(t *testing.T, home string) {
			writeFile(t, home+"/.aws/credentials", "[default]\n"+keys("file"))
			t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", role.URL)
		}},
		{"anonymous", "", "&anonymous=true", func(t *testing.T, home string) {
			t.Setenv("AWS_ACCESS_KEY_ID", "env")
			t.Setenv("AWS_SECRET_ACCESS_KEY", "s")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.prepare(t, withoutCredentials(t))
			a := newAnswering(t)
			s := opened(t, a.url(c.query))
			for range 2 {
				if err := s.PutBytes(t.Context(), "x", []byte("body")); err != nil {
					t.Fatal(err)
				}
			}
			for _, r := range a.asked {
				got := r.Header.Get("Authorization")
				if (c.want == "") != (got == "") || c.want != "" && !strings.Contains(got, "Credential="+c.want+"/") ||
					c.want == "role" && r.Header.Get("X-Amz-Security-Token") != "token" {
					t.Errorf("the request is signed %q", got)
				}
			}
		})
	}
}

func TestS3Credentials_NoneIsAnErrorThatSaysWhatToDo(t *testing.T) {
	home := withoutCredentials(t)
	a := newAnswering(t)
	err := opened(t, a.url("")).PutBytes(t.Context(), "x", nil)
	if err == nil || !strings.Contains(err.Error(), "AWS_ACCESS_KEY_ID") || len(a.asked) > 0 {
		t.Errorf("%v, %d requests", err, len(a.asked))
	}
	writeFile(t, home+"/.aws/config", "[default]\naws_access_key_id = half\n")
	err = opened(t, a.url("")).PutBytes(t.Context(), "x", nil)
	if err == nil || !strings.Contains(err.Error(), "partial") || len(a.asked) > 0 {
		t.Errorf("a key without its secret: %v, %d requests", err, len(a.asked))
	}
}

// Files are read again when the credentials expire, and not for each request.
func TestS3Credentials_AreRenewed(t *testing.T) {
	home := withoutCredentials(t)
	text := "[default]\naws_access_key_id = %s\naws_secret_access_key = s\n"
	writeFile(t, home+"/.aws/credentials", fmt.Sprintf(text, "old"))
	creds := (&s3Query{}).credentials()
	used := func() string {
		v, err := creds.GetWithContext(nil)
		if err != nil {
			t.Fatal(err)
		}
		return v.AccessKeyID
	}
	if used() != "old" || creds.IsExpired() {
		t.Fatal("the file was not read, or its credentials expire at once")
	}
	writeFile(t, home+"/.aws/credentials", fmt.Sprintf(text, "new"))
	if used() != "old" {
		t.Fatal("the file was read again before the credentials expired")
	}
	creds.Expire()
	if used() != "new" {
		t.Fatal("the file was not read again after the credentials expired")
	}
	for until, expired := range map[time.Duration]bool{-time.Second: true, time.Hour: false} {
		c := chain{current: &credentials.Static{}, until: time.Now().Add(until)}
		if c.IsExpired() != expired {
			t.Fatalf("a chain whose time is over in %v is expired: %t", until, !expired)
		}
	}
}
