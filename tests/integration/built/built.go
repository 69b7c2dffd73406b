// Package built gives tests the binary of weir, and addresses for it to listen on.
package built

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// Weir is the binary: the one that WEIR_BINARY names, or one that is built when it
// is first asked for.
type Weir struct {
	once   sync.Once
	path   string
	err    error
	making sync.Mutex
	dir    string // of what was built
}

// Main runs the tests of a package, for its TestMain; what was built goes with
// them.
func (w *Weir) Main(m *testing.M) {
	code := m.Run()
	if w.dir != "" {
		_ = os.RemoveAll(w.dir)
	}
	os.Exit(code)
}

// Path is where the binary is.
func (w *Weir) Path(t testing.TB) string {
	t.Helper()
	w.once.Do(w.build)
	if w.err != nil {
		t.Fatal(w.err)
	}
	return w.path
}

// Folder is one for what else is built; it goes with the tests.
func (w *Weir) Folder() (string, error) {
	w.making.Lock()
	defer w.making.Unlock()
	var err error
	if w.dir == "" {
		w.dir, err = os.MkdirTemp("", "weir-built-")
	}
	return w.dir, err
}

func (w *Weir) build() {
	if path := os.Getenv("WEIR_BINARY"); path != "" {
		w.path, w.err = filepath.Abs(path)
		return
	}
	dir, err := w.Folder()
	if w.err = err; err != nil {
		return
	}
	w.path = filepath.Join(dir, "weir")
	if out, err := exec.Command("go", "build", "-o", w.path, "weir").CombinedOutput(); err != nil {
		w.err = fmt.Errorf("building weir: %w\n%s", err, out)
	}
}

// Addresses are free on loopback, each another. The system gives their ports to
// nobody who asks for just any: no connection of a test beside takes one while
// whoever listens there starts again.
func Addresses(t testing.TB, to ...*string) {
	t.Helper()
	for _, a := range to {
		l, err := free()
		if err != nil {
			t.Fatalf("finding a free port: %v", err)
		}
		defer l.Close() // when all are found
		*a = l.Addr().String()
	}
}

func free() (l net.Listener, err error) {
	for range 100 {
		const lowest, beyond = 10_000, 20_000
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", lowest+rand.IntN(beyond-lowest))); err == nil {
			return l, nil
		}
	}
	return nil, err
}
