package etl

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"weir/internal/platform/rawjson"
)

// stage keeps what a run has read from its source, in blocks, until the sinks have it. Each block
// is a file that is synced before the progress names it. Files that the progress does not name,
// after a crash, are written again.
type stage struct {
	dir  string
	held []*block // blocks of a stream, in memory; nil: they are files
}

const (
	progressFile = "progress.json"
	blocksFolder = "blocks"
	runsFolder   = "runs"
)

// progress is the state of a run. It is replaced as a whole, after each block.
type progress struct {
	Run      string   `json:"run"`
	Pipeline string   `json:"pipeline"` // hash
	Source   string   `json:"source"`   // identity
	Position string   `json:"position"`
	Blocks   int      `json:"blocks"`
	Counts   Counts   `json:"counts"`
	Done     bool     `json:"done"` // the source was read to its end
	From     []Column `json:"from,omitempty"`
	Ends     []int    `json:"ends,omitempty"` // number of blocks at the end of each complete segment
	Columns  []Column `json:"columns"`
	Sinks    []Sink   `json:"sinks"`
}

// lock locks the state of a pipeline for this process, until release. The kernel releases the lock
// when the process ends, however it ends.
func (s stage) lock() (release func(), err error) {
	for _, dir := range []string{s.dir, filepath.Join(s.dir, blocksFolder), filepath.Join(s.dir, runsFolder)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("making the folder of the run: %w", err)
		}
	}
	f, err := os.OpenFile(filepath.Join(s.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the pipeline: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("the pipeline runs already, on %s: wait for its end", s.dir)
		}
		return nil, fmt.Errorf("locking the pipeline: %w", err)
	}
	return func() { _ = f.Close() }, nil
}

// load returns the progress of the run that was interrupted, or nil if there is none.
func (s stage) load() (*progress, error) {
	raw, err := os.ReadFile(filepath.Join(s.dir, progressFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading how far the last run came: %w", err)
	}
	var p progress
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, fmt.Errorf("reading how far the last run came: %w", err)
	}
	return &p, nil
}

func (at *progress) marshal() ([]byte, error) {
	raw, err := json.MarshalIndent(at, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing how far the run is: %w", err)
	}
	return raw, nil
}

// save makes the progress durable.
func (s stage) save(p *progress) error {
	raw, err := p.marshal()
	if err != nil {
		return err
	}
	return s.saveRaw(raw)
}

func (s stage) saveRaw(raw []byte) error {
	return replace(filepath.Join(s.dir, progressFile), func(w io.Writer) error {
		_, err := w.Write(append(raw, '\n'))
		return err
	})
}

// clear removes the run: its progress first, so that it never names blocks that are gone.
func (s stage) clear() error {
	if err := os.Remove(filepath.Join(s.dir, progressFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("ending the run: %w", err)
	}
	entries, err := os.ReadDir(filepath.Join(s.dir, blocksFolder))
	for _, e := range entries {
		err = errors.Join(err, os.Remove(filepath.Join(s.dir, blocksFolder, e.Name())))
	}
	if err != nil {
		return fmt.Errorf("ending the run: %w", err)
	}
	return nil
}

// replace replaces a file. When it returns nil, the new contents are durable. After an error or a
// crash, the file has the old or the new contents, never a part.
func replace(path string, write func(io.Writer) error) (err error) {
	temp := path + ".tmp"
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	w := bufio.NewWriterSize(f, 1<<18)
	err = write(w)
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err == nil {
		err = syncFolder(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// block is the result of some rows of the source.
type block struct {
	rows    []row    // for the sinks
	ops     []op     // of a stream: the operation of each row; opPut for rows beyond it
	rejects [][]byte // lines of JSON
	size    int      // estimated memory of both, while the block is filled
}

func (b *block) add(r row) {
	if len(b.ops) > 0 {
		b.ops = append(b.ops, opPut)
	}
	b.rows, b.size = append(b.rows, r), b.size+r.size()
}

func (s stage) path(n int) string {
	return filepath.Join(s.dir, blocksFolder, fmt.Sprintf("%09d", n))
}

// put writes a block, durably. It ends with a checksum, so that get notices a disk that returns
// other bytes.
func (s stage) put(n int, b *block) error {
	return replace(s.path(n), func(w io.Writer) error {
		sum := sha256.New()
		w = io.MultiWriter(w, sum)
		var buf []byte
		buf = binary.AppendUvarint(buf, uint64(len(b.rows)))
		for _, r := range b.rows {
			buf = binary.AppendUvarint(buf, uint64(len(r)))
			for _, c := range r {
				if c.null {
					buf = append(buf, 0)
					continue
				}
				buf = binary.AppendUvarint(buf, uint64(len(c.text))+1)
				buf = append(buf, c.text...)
			}
			if len(buf) > 1<<18 {
				if _, err := w.Write(buf); err != nil {
					return err
				}
				buf = buf[:0]
			}
		}
		buf = binary.AppendUvarint(buf, uint64(len(b.rejects)))
		for _, line := range b.rejects {
			buf = binary.AppendUvarint(buf, uint64(len(line)))
			buf = append(buf, line...)
		}
		if _, err := w.Write(buf); err != nil {
			return err
		}
		_, err := w.Write(sum.Sum(nil))
		return err
	})
}

// get reads a block and checks it.
func (s stage) get(n int) (*block, error) {
	if s.held != nil {
		return s.held[n], nil
	}
	raw, err := os.ReadFile(s.path(n))
	if err != nil {
		return nil, fmt.Errorf("reading a block of the run: %w", err)
	}
	body := raw[:max(0, len(raw)-sha256.Size)]
	if sum := sha256.Sum256(body); len(raw) < sha256.Size || string(sum[:]) != string(raw[len(body):]) {
		return nil, fmt.Errorf("reading a block of the run: %s is damaged: run again with --fresh", s.path(n))
	}
	number := func() int {
		v, size := binary.Uvarint(body)
		body = body[max(size, 0):]
		return int(v)
	}
	take := func(n int) (part []byte) {
		part, body = body[:n:n], body[n:]
		return part
	}
	b, rows := &block{rows: make([]row, number())}, slab{}
	for i := range b.rows {
		b.rows[i] = rows.row(number())
		for j := range b.rows[i] {
			if n := number(); n == 0 {
				b.rows[i][j].null = true
			} else {
				b.rows[i][j].text = rawjson.Alias(take(n - 1)) // nobody writes to raw
			}
		}
	}
	b.rejects = make([][]byte, number())
	for i := range b.rejects {
		b.rejects[i] = take(number())
	}
	return b, nil
}

// digest counts and hashes what is written through it.
type digest struct {
	w     io.Writer
	sum   hash.Hash
	bytes int64
}

func newDigest(w io.Writer) *digest { return &digest{w: w, sum: sha256.New()} }

func (d *digest) Write(p []byte) (int, error) {
	n, err := d.w.Write(p)
	d.sum.Write(p[:n])
	d.bytes += int64(n)
	return n, err
}

func (d *digest) hex() string { return hex.EncodeToString(d.sum.Sum(nil)) }
