package lake

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"weir/internal/platform/calls"
)

// Earlier returns the bytes of the versions that were replaced or deleted, below the prefix of the
// store alone. For a bucket without versions, or one that refuses to list them, it returns none,
// and no call counts as failed. A missing bucket is an error.
func TestVersions_BytesOfReplacedAndDeletedVersionsAreCounted(t *testing.T) {
	const pages = `<ListVersionsResult><IsTruncated>false</IsTruncated>
<Version><Key>raw/a</Key><VersionId>2</VersionId><IsLatest>true</IsLatest><Size>100</Size></Version>
<Version><Key>raw/a</Key><VersionId>1</VersionId><IsLatest>false</IsLatest><Size>70</Size></Version>
<DeleteMarker><Key>raw/b</Key><VersionId>4</VersionId><IsLatest>true</IsLatest></DeleteMarker>
<Version><Key>raw/b</Key><VersionId>3</VersionId><IsLatest>false</IsLatest><Size>7</Size></Version>
</ListVersionsResult>`
	for name, c := range map[string]struct {
		versioning, versions int // the status codes of the answers
		status               string
		bytes                int64
		keeps, fails         bool
	}{
		"enabled":              {200, 200, "Enabled", 77, true, false},
		"suspended":            {200, 200, "Suspended", 77, true, false},
		"never enabled":        {200, 500, "", 0, false, false},
		"not implemented":      {501, 500, "", 0, false, false},
		"state is forbidden":   {403, 500, "", 0, false, false},
		"listing is forbidden": {200, 403, "Enabled", 0, false, false},
		"no such bucket":       {404, 404, "", 0, false, true},
		"deleted meanwhile":    {200, 404, "Enabled", 0, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				q := r.URL.Query()
				switch {
				case q.Has("versioning"):
					w.WriteHeader(c.versioning)
					if c.status != "" {
						_, _ = io.WriteString(w, "<VersioningConfiguration><Status>"+c.status+"</Status></VersioningConfiguration>")
					} else {
						_, _ = io.WriteString(w, "<VersioningConfiguration></VersioningConfiguration>")
					}
				case q.Has("versions") && q.Get("prefix") == "raw/":
					w.WriteHeader(c.versions)
					_, _ = io.WriteString(w, pages)
				default:
					t.Errorf("asked for %s", r.URL)
				}
			}))
			defer server.Close()
			failed := 0
			meter := &calls.Meter{Tell: func(_ string, _ time.Duration, bad bool) {
				if bad {
					failed++
				}
			}}
			at := "s3://bucket?prefix=raw/&region=here&anonymous=true&use_path_style=true&endpoint=" + server.URL
			s, err := openStore(at, nil, func() *calls.Meter { return meter })
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			n, keeps, err := s.Earlier(t.Context())
			if n != c.bytes || keeps != c.keeps || (err != nil) != c.fails {
				t.Errorf("%d bytes, %t: %v", n, keeps, err)
			}
			if !c.fails && failed > 0 {
				t.Errorf("%d calls count as failed", failed)
			}
		})
	}
}

func TestVersions_AFolderHasNone(t *testing.T) {
	s := opened(t, "file://"+t.TempDir())
	if n, keeps, err := s.Earlier(t.Context()); n != 0 || keeps || err != nil {
		t.Errorf("%d %t %v", n, keeps, err)
	}
}
