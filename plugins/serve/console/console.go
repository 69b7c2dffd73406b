// Package console serves weir's web pages: static files in the binary, with headers that let the browser load from
// and send to weir only. The pages query the API with the viewer's own key.
package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"weir/internal/platform/httpx"
)

//go:embed web
var web embed.FS

// filesUnder is the path prefix of all files except the page itself.
const filesUnder = "/console/"

// pages lists the paths at which the page is served: each is a view that can be opened, reloaded and linked to.
func pages() []string {
	return []string{"/", "/devices", "/device", "/group", "/alerts", "/alert", "/dead-letters",
		"/dead-letter", "/replays", "/replay", "/schemas", "/rules", "/analytics", "/quality", "/streams", "/etl",
		"/proof", "/admin"}
}

type file struct {
	kind, tag   string
	plain, gzip []byte
}

// Handler serves the pages and their files, and passes other requests to next.
func Handler(next http.Handler) (http.Handler, error) {
	files, err := load()
	if err != nil {
		return nil, err
	}
	policy := securityPolicy(files["index.html"].plain)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := ""
		if below, ok := strings.CutPrefix(r.URL.Path, filesUnder); ok {
			name = below
		} else if slices.Contains(pages(), r.URL.Path) {
			name = "index.html"
		}
		f, ok := files[name]
		if !ok {
			next.ServeHTTP(w, r)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			httpx.Write(w, httpx.Problem{Type: "method-not-allowed", Status: http.StatusMethodNotAllowed,
				Title: "The method is not allowed here", Detail: "use GET or HEAD"})
			return
		}
		f.serve(w, r, policy)
	}), nil
}

// load reads the files and compresses each once.
func load() (map[string]file, error) {
	files := map[string]file{}
	err := fs.WalkDir(web, "web", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		plain, err := fs.ReadFile(web, name)
		if err != nil {
			return err
		}
		var packed bytes.Buffer
		z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
		if err != nil {
			return err
		}
		if _, err := z.Write(plain); err != nil {
			return err
		}
		if err := z.Close(); err != nil {
			return err
		}
		sum := sha256.Sum256(plain)
		files[strings.TrimPrefix(name, "web/")] = file{kind: kindOf(name), plain: plain, gzip: packed.Bytes(),
			tag: base64.RawURLEncoding.EncodeToString(sum[:12])}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the console's files: %w", err)
	}
	return files, nil
}

// kindOf returns the media type of a file, independent of the machine's configuration.
func kindOf(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js", ".mjs":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	return mime.FormatMediaType("text/plain", map[string]string{"charset": "utf-8"})
}

func (f file) serve(w http.ResponseWriter, r *http.Request, policy string) {
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer") // a path or query may name a device
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
	h.Set("Cache-Control", "no-cache") // revalidate: another version of weir may have been started
	h.Add("Vary", "Accept-Encoding")
	body, tag := f.plain, f.tag
	if acceptsGzip(r) {
		h.Set("Content-Encoding", "gzip")
		body, tag = f.gzip, f.tag+"-gz"
	}
	h.Set("ETag", `"`+tag+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

func acceptsGzip(r *http.Request) bool {
	for _, part := range strings.Split(r.Header.Get("Accept-Encoding"), ",") {
		name, quality, _ := strings.Cut(strings.TrimSpace(part), ";")
		if name == "gzip" {
			return strings.ReplaceAll(quality, " ", "") != "q=0"
		}
	}
	return false
}

// securityPolicy is the Content-Security-Policy of the pages: only their own files, their own API, and the one inline
// script, by its hash: the import map.
func securityPolicy(page []byte) string {
	scripts := "'self'"
	for _, m := range regexp.MustCompile(`(?s)<script type="importmap">(.*?)</script>`).FindAllSubmatch(page, -1) {
		sum := sha256.Sum256(m[1])
		scripts += " 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return "default-src 'none'; script-src " + scripts + "; style-src 'self'; img-src 'self'; connect-src 'self'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
		"require-trusted-types-for 'script'; trusted-types 'none'"
}
