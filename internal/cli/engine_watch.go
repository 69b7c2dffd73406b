package cli

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"weir/internal/platform/envyaml"
)

// How often files are looked at: one that is the same twice in a row is wholly
// written. While none changes it is seldom, as all of them are read each time: a tenth of
// what a process takes that has nothing to do.
const (
	watchEvery = 500 * time.Millisecond
	watchRest  = 2 * time.Second
)

// watch applies configs that change while the engine runs copies of them. A changed config is checked first, and only
// a valid one replaces its copy, which makes the engine drain and restart the stream. If the engine cannot start it,
// the previous config is restored. Since offsets are committed only for acknowledged events, neither loses events. A
// version in force replaces a file and is applied the same way.
type watch struct {
	checker *checker
	copies  *copies
	roots   []string // files, and folders whose files may come and go
	restart []string // files that are read only at start
	follow  *follow
	log     *slog.Logger

	mu    sync.Mutex
	files map[string]*watched
	older map[string][sha256.Size]byte // last seen hash of the files in restart
}

// watched is the state of a config file.
type watched struct {
	runs, before *taken
	seen         [sha256.Size]byte
	refused      [sha256.Size]byte
	wrong        string // why the config was rejected
	gone         int    // number of checks in which it was missing
	waits        bool   // behind has warned
	started      bool   // the engine runs it
	asked        time.Time
}

// taken is a config that was given to the engine.
type taken struct {
	config *envyaml.Config
	sum    [sha256.Size]byte
	number int64             // version, 0 for the file
	file   [sha256.Size]byte // hash of the file at that time
}

// answerMost is how long the engine may take to apply a config before the next one is given to it.
const answerMost = 2 * time.Minute

func newWatch(checker *checker, copies *copies, l launch, follow *follow) *watch {
	w := &watch{
		checker: checker, copies: copies, roots: l.configs, restart: append([]string{}, l.restart...), follow: follow,
		log:   slog.New(slog.NewTextHandler(os.Stderr, nil)),
		files: map[string]*watched{}, older: map[string][sha256.Size]byte{},
	}
	if l.main != "" {
		w.restart = append(w.restart, l.main)
	}
	w.restart = append(w.restart, l.resources...)
	for _, path := range w.restart {
		w.older[path], _ = sumOf(path)
	}
	return w
}

// runs records the config that the engine is started with.
func (w *watch) runs(path string, config *envyaml.Config) {
	f := w.file(path)
	sum, _ := sumOf(path)
	f.runs, f.seen, f.started = &taken{config, sum, 0, sum}, sum, true
}

func sumOf(path string) ([sha256.Size]byte, error) {
	raw, err := os.ReadFile(path)
	return sha256.Sum256(raw), err
}

// run checks the files until the context ends.
func (w *watch) run(ctx context.Context) {
	again := time.NewTimer(watchEvery)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
			w.follow.look(ctx, w.running)
			changes := w.look()
			w.follow.tell(w.configs())
			if changes {
				again.Reset(watchEvery)
			} else {
				again.Reset(watchRest)
			}
		}
	}
}

// look says whether some file is changing.
func (w *watch) look() (changes bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, root := range w.roots {
		paths, err := configFiles([]string{root})
		if err != nil {
			continue // missing, perhaps temporarily
		}
		for _, path := range paths {
			if w.files[path] == nil && isDir(root) {
				w.files[path] = &watched{}
			}
		}
	}
	for path, f := range w.files {
		changes = w.one(path, f) || changes
	}
	for _, path := range w.restart {
		if sum, err := sumOf(path); err == nil && sum != w.older[path] {
			w.older[path] = sum
			w.log.Warn("a changed file takes effect at the next start", "file", path)
		}
	}
	return changes
}

// one looks at one file, and says whether it is changing.
func (w *watch) one(path string, f *watched) (changes bool) {
	if !f.asked.IsZero() && time.Since(f.asked) < answerMost {
		return true // the engine is at it
	}
	text, number, err := w.wanted(path)
	if err != nil {
		if f.gone++; f.gone == 6 && f.runs != nil { // editors delete and recreate files
			w.remove(path)
		}
		return f.gone <= 6
	}
	f.gone = 0
	sum := sha256.Sum256(text)
	whole := sum == f.seen
	f.seen = sum
	w.behind(path, number, f)
	switch {
	case !whole || sum == f.refused:
		return !whole
	case f.runs != nil && sum == f.runs.sum:
		f.runs.number, f.wrong, f.refused = number, "", [sha256.Size]byte{}
		return false
	}
	config, found := w.checker.text(path, text)
	if config == nil || len(found) > 0 {
		w.refuse(path, number, text, told(found))
		return true
	}
	file, _ := sumOf(path)
	if _, err := w.copies.write(path, config, nil); err != nil {
		w.log.Error("a changed config cannot be taken up, and changes nothing", "error", err)
		return true
	}
	f.before, f.runs = f.runs, &taken{config, sum, number, file}
	f.refused, f.wrong, f.waits, f.started, f.asked = [sha256.Size]byte{}, "", false, false, time.Now()
	w.log.Info("a changed config is taken up: its stream is drained, and begins anew", "file", path, "version", number)
	return true
}

// remove makes the engine end the stream of a deleted file.
func (w *watch) remove(path string) {
	copied, err := w.copies.path(path)
	if err == nil {
		err = os.Remove(copied)
	}
	if err != nil {
		w.log.Error("the stream of a deleted config runs on", "file", path, "error", err)
		return
	}
	delete(w.files, path)
	w.log.Warn("a config was deleted: its stream is drained, and ends", "file", path)
}

// failed restores a stream's previous config when the engine could not start the new one.
func (w *watch) failed(stream, why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for path, f := range w.files {
		if stream != "" && w.stream(path) != stream {
			continue
		}
		if f.before == nil {
			f.asked = time.Time{} // the engine retries until the file changes
			continue
		}
		f.refused, f.asked = f.runs.sum, time.Now()
		f.wrong = "the engine cannot start it: the log of the process says why" // the reason may quote a setting
		if _, err := w.copies.write(path, f.before.config, nil); err != nil {
			w.log.Error("the config before a wrong one cannot be put back", "file", path, "error", err)
			return
		}
		f.runs, f.before = f.before, nil
		w.log.Error("a changed config cannot be started: the one before runs on", "file", path, "error", why)
		return
	}
}

// stream returns the engine's name for the stream of a file.
func (w *watch) stream(path string) string {
	name := filepath.Base(path)
	for _, root := range w.roots {
		if rel, err := filepath.Rel(root, path); err == nil && isDir(root) && !strings.HasPrefix(rel, "..") {
			name = strings.ReplaceAll(rel, string(filepath.Separator), "_")
		}
	}
	return strings.TrimSuffix(strings.TrimSuffix(name, ".yaml"), ".yml")
}

// The engine reports only in its log that a changed config could not be started, so watch is also a log handler.

// Enabled selects the levels at which the engine reports on configs.
func (w *watch) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

// Handle recognizes the engine's messages about configs.
func (w *watch) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "Updated main config" {
		w.applied("")
	} else if name, is := strings.CutPrefix(r.Message, "Updated stream "); is {
		w.applied(strings.TrimSuffix(name, " config from file."))
	}
	rest, found := strings.CutPrefix(r.Message, "Failed to apply updated ")
	if !found {
		return nil
	}
	if why, found := strings.CutPrefix(rest, "config: "); found {
		w.failed("", why)
	} else if name, why, found := strings.Cut(strings.TrimPrefix(rest, "stream "), " config: "); found {
		w.failed(name, why)
	}
	return nil
}

// WithAttrs returns w: attributes do not matter here.
func (w *watch) WithAttrs([]slog.Attr) slog.Handler { return w }

// WithGroup returns w.
func (w *watch) WithGroup(string) slog.Handler { return w }
