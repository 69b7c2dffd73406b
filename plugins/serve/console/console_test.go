package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
)

func serve(t *testing.T) *httptest.Server {
	t.Helper()
	handler, err := Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTeapot)
	}))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s
}

func ask(t *testing.T, method, url string, header http.Header) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header
	resp, err := (&http.Transport{DisableCompression: true}).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func TestConsole_EveryPageIsServedAndNothingElse(t *testing.T) {
	s := serve(t)
	for _, p := range append(pages(), "/?fleet=a", "/device?id=..%2F..%2F") {
		resp := ask(t, "GET", s.URL+p, http.Header{})
		policy := resp.Header.Get("Content-Security-Policy")
		if resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
			t.Errorf("%s: %s, %s", p, resp.Status, resp.Header.Get("Content-Type"))
		}
		if strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") ||
			!strings.Contains(policy, "default-src 'none'") ||
			!strings.Contains(policy, "frame-ancestors 'none'") {
			t.Errorf("%s: policy %s", p, policy)
		}
	}
	for _, p := range []string{"/v1/rollups", "/index.html", "/console/", "/console/js", "/console/js/../../console.go",
		"/devices/", "/console/web/index.html"} {
		if resp := ask(t, "GET", s.URL+p, http.Header{}); resp.StatusCode != http.StatusTeapot {
			t.Errorf("%s: %s, want what comes after", p, resp.Status)
		}
	}
	if resp := ask(t, "POST", s.URL+"/", http.Header{}); resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST /: %s", resp.Status)
	}
}

func TestConsole_FilesComePackedAndAreAskedForOnce(t *testing.T) {
	s := serve(t)
	plain := ask(t, "GET", s.URL+"/console/app.css", http.Header{})
	want, err := io.ReadAll(plain.Body)
	if err != nil || plain.Header.Get("Content-Encoding") != "" {
		t.Fatal(plain.Header, err)
	}
	packed := ask(t, "GET", s.URL+"/console/app.css", http.Header{"Accept-Encoding": {"br, gzip"}})
	z, err := gzip.NewReader(packed.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(z); err != nil || !bytes.Equal(got, want) {
		t.Errorf("unpacked, the file is another: %v", err)
	}
	again := ask(t, "GET", s.URL+"/console/app.css", http.Header{"Accept-Encoding": {"gzip"},
		"If-None-Match": {packed.Header.Get("ETag")}})
	if again.StatusCode != http.StatusNotModified {
		t.Errorf("the same file again: %s", again.Status)
	}
	refused := ask(t, "GET", s.URL+"/console/app.css", http.Header{"Accept-Encoding": {"gzip;q=0"}})
	if refused.Header.Get("Content-Encoding") != "" {
		t.Error("packed for one that takes no gzip")
	}
}

// imports are the files that a script loads, by their names below web.
func imports(name, text string) (files []string) {
	for _, m := range regexp.MustCompile(`(?:from|import)\s*\(?["']([^"']+)["']`).FindAllStringSubmatch(text, -1) {
		if strings.HasPrefix(m[1], ".") {
			files = append(files, path.Join(path.Dir(name), m[1]))
		}
	}
	return files
}

// What a browser loads before the first view stands there.
func TestConsole_TheFirstPageIsSmall(t *testing.T) {
	files, err := load()
	if err != nil {
		t.Fatal(err)
	}
	page := string(files["index.html"].plain)
	need := []string{"index.html", "js/pages/overview.js"}
	for _, m := range regexp.MustCompile(`"(?:\./)?console/([^"]+)"`).FindAllStringSubmatch(page, -1) {
		need = append(need, m[1])
	}
	sum, seen := 0, map[string]bool{}
	for len(need) > 0 {
		name := need[0]
		need = need[1:]
		if seen[name] {
			continue
		}
		seen[name] = true
		f, ok := files[name]
		if !ok {
			t.Fatalf("%s is loaded, and is not there", name)
		}
		sum += len(f.gzip)
		need = append(need, imports(name, string(f.plain))...)
	}
	if sum > 60<<10 || len(seen) < 15 {
		t.Errorf("the first page is %d bytes in %d files", sum, len(seen))
	}
	t.Logf("the first page is %d bytes, packed, in %d files", sum, len(seen))
}

// Every module that is loaded exists, and nothing comes from elsewhere.
func TestConsole_FilesAreWhole(t *testing.T) {
	files, err := load()
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := regexp.MustCompile(`https?://[^\s"'<>)]*`)
	for name, f := range files {
		if strings.HasPrefix(name, "vendor/") {
			continue
		}
		for _, url := range elsewhere.FindAllString(string(f.plain), -1) {
			if url != "http://www.w3.org/2000/svg" && !strings.HasPrefix(url, "http://127.0.0.1") {
				t.Errorf("%s names %s", name, url)
			}
		}
		for _, unsafe := range []string{"innerHTML", "insertAdjacentHTML", "document.write", "eval(",
			"dangerouslySet", "style=\"", "style=${"} {
			if strings.Contains(string(f.plain), unsafe) {
				t.Errorf("%s uses %s", name, unsafe)
			}
		}
		if path.Ext(name) != ".js" {
			continue
		}
		for _, other := range imports(name, string(f.plain)) {
			if _, ok := files[other]; !ok && !strings.Contains(other, "$") {
				t.Errorf("%s loads %s, which is not there", name, other)
			}
		}
	}
	main := string(files["js/views.js"].plain)
	for _, m := range regexp.MustCompile(`"(/[a-z-]*)": \{ file: "(\w+)"`).FindAllStringSubmatch(main, -1) {
		if _, ok := files["js/pages/"+m[2]+".js"]; !ok {
			t.Errorf("the view %s is in %s.js, which is not there", m[1], m[2])
		}
		if !strings.Contains(strings.Join(pages(), " ")+" ", m[1]+" ") {
			t.Errorf("the view %s is no page of the server", m[1])
		}
	}
	for _, p := range pages() {
		if !strings.Contains(main, `"`+p+`": {`) {
			t.Errorf("the page %s has no view", p)
		}
	}
}

func TestConsole_LibrariesAreThoseOfTheirReleases(t *testing.T) {
	said, err := os.ReadFile("web/vendor/README.md")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir("web/vendor")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		raw, err := os.ReadFile("web/vendor/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		switch path.Ext(e.Name()) {
		case ".js", ".mjs", ".css":
			sum := sha256.Sum256(raw)
			if !regexp.MustCompile("`" + regexp.QuoteMeta(e.Name()) + "` .*" + hex.EncodeToString(sum[:])).Match(said) {
				t.Errorf("%s has the sum %x, which README.md does not say", e.Name(), sum)
			}
		}
	}
}
