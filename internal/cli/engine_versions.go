package cli

import (
	"crypto/sha256"
	"os"
	"slices"
	"strings"
	"time"

	"weir/internal/control/status"
	"weir/internal/control/streamconf"
	"weir/internal/platform/envyaml"
	"weir/internal/platform/text"
)

// begins records that a stream starts with a version.
func (w *watch) begins(path string, config *envyaml.Config, v streamconf.Version) {
	f := w.file(path)
	sum := sha256.Sum256([]byte(v.Text))
	file, _ := sumOf(path)
	f.runs, f.seen, f.started = &taken{config, sum, v.Number, file}, sum, true
	w.log.Info("a stream begins with a version of its config", "stream", w.stream(path), "version", v.Number)
}

func (w *watch) file(path string) *watched {
	if w.files[path] == nil {
		w.files[path] = &watched{}
	}
	return w.files[path]
}

// refuse records why a config is rejected. The running config stays.
func (w *watch) refuse(path string, number int64, text []byte, why string) {
	f := w.file(path)
	f.refused, f.wrong = sha256.Sum256(text), why
	for _, line := range strings.Split(why, "\n") {
		w.log.Error("a changed config is wrong, and changes nothing", "finding", line, "version", number)
	}
}

// wanted returns the config that a stream should run, and its version number (0: the file).
func (w *watch) wanted(path string) (text []byte, number int64, err error) {
	if v, is := w.follow.of(w.stream(path)); is && v.Number > 0 {
		return []byte(v.Text), v.Number, nil
	}
	text, err = os.ReadFile(path)
	return text, 0, err
}

// text returns the config that a stream should run.
func (w *watch) text(path string) ([]byte, error) {
	text, _, err := w.wanted(path)
	return text, err
}

// behind warns once when a file changes whose place a version has.
func (w *watch) behind(path string, number int64, f *watched) {
	if number == 0 || f.waits || f.runs == nil {
		return
	}
	if file, err := sumOf(path); err == nil && file != f.runs.file {
		f.waits = true
		w.log.Warn("a config changed, and a version stays in force", "file", path, "version", number)
	}
}

// applied records that the engine runs the config it was given; stream "" means the main config.
func (w *watch) applied(stream string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for path, f := range w.files {
		if stream == "" || w.stream(path) == stream {
			f.started, f.asked = true, time.Time{}
		}
	}
}

// running returns the versions that streams run, by stream.
func (w *watch) running() map[string]int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := map[string]int64{}
	for path, f := range w.files {
		if f.runs != nil && f.started && f.runs.number > 0 {
			all[w.stream(path)] = f.runs.number
		}
	}
	return all
}

// configs reports the streams that run, or should run, a version, or whose config is invalid.
func (w *watch) configs() (all []status.Config) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for path, f := range w.files {
		c := status.Config{Stream: w.stream(path), Problem: text.Shorten(f.wrong)}
		if v, is := w.follow.of(c.Stream); is {
			c.Wanted = v.Number
		}
		if f.runs != nil {
			c.Running = f.runs.number
			if !f.started && f.before != nil {
				c.Running = f.before.number
			}
		}
		if c.Wanted > 0 || c.Running > 0 || c.Problem != "" {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b status.Config) int { return strings.Compare(a.Stream, b.Stream) })
	return all
}
