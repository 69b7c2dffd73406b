// Package built provides tests with the weir binary and with addresses to listen on.
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

// Weir is the binary: the one that WEIR_BINARY names, or one that is built at the first call of Path.
type Weir struct {
	once   sync.Once
	path   string
	err    error
	making sync.Mutex
	dir    string // temporary folder, "" until the first call of Folder
}

// Main runs the tests of a package, deletes Folder and exits. Call it from TestMain.
func (w *Weir) Main(m *testing.M) {
	code := m.Run()
	if w.dir != "" {
		_ = os.RemoveAll(w.dir)
	}
	os.Exit(code)
}

// Path returns the path of the binary.
func (w *Weir) Path(t testing.TB) string {
	t.Helper()
	w.once.Do(w.build)
	if w.err != nil {
		t.Fatal(w.err)
	}
	return w.path
}

// Folder returns a folder for other build results; Main deletes it.
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

// Addresses stores distinct free loopback addresses in to. Their ports are below the system's ephemeral range, so
// that no outgoing connection of a parallel test takes one while its listener restarts.
func Addresses(t testing.TB, to ...*string) {
	t.Helper()
	for _, a := range to {
		l, err := free()
		if err != nil {
			t.Fatalf("finding a free port: %v", err)
		}
		defer l.Close() // only when all are found, so that none is found twice
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
