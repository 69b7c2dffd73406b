package replay

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/platform/sqldb"
	"weir/plugins/operate/recount"
	"weir/plugins/store/lake"
	"weir/plugins/store/raw"
)

// world is a set of stores in memory, and what a stream published of them.
type world struct {
	t       *testing.T
	control string
	jobs    *Store

	mu       sync.Mutex
	events   []stored
	fail     int // scans that fail half way
	letters  []*letter
	outcomes map[string]outcome
	windows  map[recount.Window]int
	behind   map[recount.Window]int // how many more times a window is left
	got      []string               // deliveries published, in order
	targets  map[string]int
	requests map[string]int // that published records name
	topics   map[string]int
}

// stored is an event as the raw store has it, and its number.
type stored struct {
	recount.Event
	n  int
	at time.Time
}

// put stores an event, whose id is its number.
func (w *world) put(device string, at time.Time) {
	n := len(w.events)
	row := &raw.Row{Fleet: "f", Device: device, At: at.UnixMicro(), Delivery: event.Coordinates{Topic: "raw-events",
		Offset: int64(n)}}
	binary.BigEndian.PutUint32(row.ID[:], uint32(n))
	w.events = append(w.events, stored{recount.Event{Row: row}, n, at})
}

var errDown = errors.New("the store is down")

func (w *world) Scan(ctx context.Context, r recount.Range, after json.RawMessage,
	each func(recount.Event) error) error {
	first := -1
	if len(after) > 0 && string(after) != "null" {
		var at raw.Position
		if err := json.Unmarshal(after, &at); err != nil {
			return err
		}
		first = int(binary.BigEndian.Uint32(at.ID[:]))
	}
	w.mu.Lock()
	events, fail := w.events, w.fail > 0
	w.fail--
	w.mu.Unlock()
	for i, e := range events {
		if fail && i > len(events)/2 {
			return errDown
		}
		if e.n <= first || e.at.Before(r.From) || !e.at.Before(r.To) {
			continue
		}
		if err := each(e.Event); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (w *world) Size(context.Context, recount.Range) (raw.Size, error) {
	return raw.Size{Events: int64(len(w.events)), Objects: 2, Bytes: 1000}, nil
}

type lettersOf struct{ *world }

func (w lettersOf) scan(_ context.Context, q letterQuery, each func(*letter) error) error {
	for _, l := range w.letters {
		if l.FailedAt.Before(q.From) || len(q.IDs) > 0 && !slices.Contains(q.IDs, l.ID) {
			continue
		}
		if err := each(l); err != nil {
			return err
		}
	}
	return nil
}

func (w lettersOf) size(context.Context, letterQuery) (objects, bytes int64, err error) {
	return 1, 500, nil
}

func (w lettersOf) resolved(_ context.Context, ids []string) (map[string]bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[string]bool{}
	for _, id := range ids {
		out[id] = w.outcomes[id].Published
	}
	return out, nil
}

func (w lettersOf) resolve(_ context.Context, _ string, outcomes []outcome) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range outcomes {
		w.outcomes[o.ID] = o
	}
	return nil
}

type windowsOf struct {
	*world
	add map[recount.Window]int
}

func (w *world) begin(recount.Schemas) windows { return &windowsOf{w, map[recount.Window]int{}} }

func (w *windowsOf) Add(s recount.Event, _ *service.Message) error { w.add[s.Window()]++; return nil }

func (w *windowsOf) replace(context.Context) (n int, left []recount.Window, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for at, count := range w.add {
		if w.behind[at] > 0 {
			w.behind[at]--
			left = append(left, at)
			continue
		}
		w.windows[at] = count
		n++
	}
	return n, left, nil
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, control: "sqlite://" + filepath.Join(t.TempDir(), "control.db"), outcomes: map[string]outcome{},
		windows: map[recount.Window]int{}, behind: map[recount.Window]int{}, targets: map[string]int{},
		requests: map[string]int{},
		topics:   map[string]int{}}
	db, err := sqldb.Open(t.Context(), w.control)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if w.jobs, err = OpenStore(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	return w
}

// fill stores events of four devices over two hours.
func (w *world) fill(n int) {
	start := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	for h := range 2 {
		for d := range 4 {
			for i := range n / 8 {
				w.put(fmt.Sprintf("d%d", d), start.Add(time.Duration(h)*time.Hour+time.Duration(i)*time.Hour/time.Duration(n/8+1)))
			}
		}
	}
}

// stream runs the input until the function it returns is called. take decides
// on each batch.
func (w *world) stream(conf string, take func(service.MessageBatch) error) (stop func()) {
	w.t.Helper()
	env := service.NewEnvironment()
	if err := register(env, sources{
		events:  func(*lake.Store) events { return w },
		letters: func(context.Context, *lake.Store, *sqldb.DB, string) (deadLetters, error) { return lettersOf{w}, nil },
		rollups: func(context.Context, *sqldb.DB) (rollups, error) { return w, nil },
	}); err != nil {
		w.t.Fatal(err)
	}
	b := env.NewStreamBuilder()
	if err := b.AddInputYAML(fmt.Sprintf("replay_jobs:\n  control: %s\n  raw: mem://\n  dead_letter: mem://\n  "+
		"rollups: sqlite://%s/r.db\n  batch_size: 50\n%s", w.control, w.t.TempDir(), conf)); err != nil {
		w.t.Fatal(err)
	}
	if err := b.SetLoggerYAML("level: none"); err != nil {
		w.t.Fatal(err)
	}
	if err := b.AddBatchConsumerFunc(func(ctx context.Context, batch service.MessageBatch) error {
		if take != nil {
			if err := take(batch); err != nil {
				return err
			}
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, msg := range batch {
			if msg.GetError() != nil { // as the stream's config has it
				if _, err := (refused{}).Process(ctx, msg); err != nil {
					return err
				}
				continue
			}
			w.got = append(w.got, event.Meta(msg, event.HeaderDelivery))
			w.targets[event.Meta(msg, event.HeaderTarget)]++
			w.requests[event.RequestOf(msg)]++

			w.topics[event.Meta(msg, metaTopic)]++
		}
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
	s, err := b.Build()
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			stopping, end := context.WithTimeout(context.Background(), 10*time.Second)
			defer end()
			if err := s.Stop(stopping); err != nil {
				w.t.Errorf("stopping: %v", err)
			}
			cancel()
			<-done
		})
	}
	w.t.Cleanup(stop)
	return stop
}

// worldRequest asks for the jobs that a world makes.
const worldRequest = "0af7651916cd43dd8448eb211c80319c"

func (w *world) create(spec Spec) *Job {
	w.t.Helper()
	if spec.Reason == "" {
		spec.Reason = "test"
	}
	if err := spec.check(time.Now()); err != nil {
		w.t.Fatal(err)
	}
	j, err := w.jobs.Create(w.t.Context(), spec, "key", worldRequest)
	if err != nil {
		w.t.Fatal(err)
	}
	return j
}

// until waits for a state of a job.
func (w *world) until(id string, what func(*Job) bool) *Job {
	w.t.Helper()
	for deadline := time.Now().Add(40 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		j, err := w.jobs.get(w.t.Context(), id)
		if err != nil {
			w.t.Fatal(err)
		}
		if what(j) {
			return j
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("the job is still %s, %+v, %q", j.State, j.Progress, j.Error)
		}
	}
}

func ended(j *Job) bool { return j.State.ended() }

func (w *world) hours() Spec {
	from := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	to := from.Add(2 * time.Hour)
	return Spec{Mode: Reprocess, From: &from, To: &to}
}

// distinct returns how many events were published at least once, and how many
// times at all.
func (w *world) distinct() (once, all int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := map[string]bool{}
	for _, d := range w.got {
		seen[d] = true
	}
	return len(seen), len(w.got)
}
