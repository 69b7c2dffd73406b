package deadletter

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/plugins/store/lake"
)

// The envelope of any failure fits into the 8 MiB that streams and topic accept, headers included.
// If it cannot have the whole original, it has at least the first MiB of it, and the size and the
// hash of the whole.
func TestEnvelope_AlwaysFits(t *testing.T) {
	conf, err := processorSpec().ParseYAML("stage: raw", nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newProcessor(conf, service.MockResources())
	if err != nil {
		t.Fatal(err)
	}
	random := make([]byte, 9_000_000)
	for i := range random {
		random[i] = byte(rand.IntN(256))
	}
	for name, c := range map[string]struct {
		original  []byte
		header    string
		violation string
		whole     bool
	}{
		"usual":                    {original: []byte(`{"event_id":"x"}`), whole: true},
		"1 MiB, to be escaped":     {original: bytes.Repeat([]byte{1}, 1<<20), whole: true},
		"1 MiB, binary":            {original: random[:1<<20], whole: true},
		"9 MB of text":             {original: bytes.Repeat([]byte("a"), 9_000_000)},
		"9 MB of quotes":           {original: bytes.Repeat([]byte{'"'}, 9_000_000)},
		"9 MB to be escaped":       {original: bytes.Repeat([]byte("<\x01"), 4_500_000)},
		"9 MB of multi-byte runes": {original: bytes.Repeat([]byte("ü€😀\u2028"), 750_000)},
		"9 MB of random bytes":     {original: random},
		"a header of 9 MB":         {original: []byte("x"), header: strings.Repeat("<", 9_000_000)},
		"reasons of 12 MB":         {original: []byte("x"), violation: strings.Repeat("\x01", 10_000), whole: true},
	} {
		msg := message(0, 7, "")
		msg.SetBytes(c.original)
		rejection := event.Reject(event.CodeSchemaViolation, c.violation, "is bad"+c.violation)
		for range 200 {
			rejection.Errors = append(rejection.Errors, event.FieldError{Pointer: c.violation, Message: c.violation})
		}
		event.MarkRejected(msg, rejection)
		msg.MetaSetMut(event.HeaderFleet, "acme"+c.header)
		msg.MetaSetMut(event.HeaderUnknownMetrics, "kept")
		msg.MetaSetMut("weir_"+c.header, c.header)
		out, err := p.Process(t.Context(), msg)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := out[0].AsBytes()
		if err != nil {
			t.Fatal(err)
		}
		beside := len(raw)
		_ = out[0].MetaWalkMut(func(key string, _ any) error {
			value, _ := out[0].MetaGet(key)
			if strings.HasPrefix(key, headerPrefix) || key == event.MetaDevice {
				beside += len(key) + len(value)
			}
			return nil
		})
		e, err := ParseEnvelope(raw)
		if err != nil {
			t.Fatal(err)
		}
		kept, err := e.originalBytes()
		if err != nil || beside > 8<<20-1<<10 || !bytes.HasPrefix(c.original, kept) {
			t.Errorf("%s: %d bytes with headers, with %d bytes of the original, %v", name, beside, len(kept), err)
		}
		sum := sha256.Sum256(c.original)
		switch {
		case c.whole && (len(kept) != len(c.original) || e.OriginalSize != 0 || e.OriginalSHA256 != ""):
			t.Errorf("%s: %d of %d bytes are kept", name, len(kept), len(c.original))
		case !c.whole && (e.OriginalSize != int64(len(c.original)) || e.OriginalSHA256 != hex.EncodeToString(sum[:])):
			t.Errorf("%s: the envelope says that the original has %d bytes and hash %q", name, e.OriginalSize, e.OriginalSHA256)
		case len(c.original) > 1<<20 && len(kept) < 1<<20:
			t.Errorf("%s: only %d bytes are kept", name, len(kept))
		}
		if e.Headers[event.HeaderUnknownMetrics] != "kept" {
			t.Errorf("%s: a short header was left out", name)
		}
	}
}

// Cut says of a stored row that its original was cut: how many bytes it had, how many are stored,
// and where the whole is in the log. It says nothing of a row with its whole original, nor of one
// that lacks only headers: that has all that goes back.
func TestRow_CutSaysWhatIsMissing(t *testing.T) {
	batch := service.MessageBatch{message(0, 7, strings.Repeat("a", 9_000_000)), message(0, 8, "poison"),
		message(0, 9, "of long headers"), message(0, 10, "")}
	for _, msg := range batch[2:] {
		msg.MetaSetMut("weir_long", strings.Repeat("<", 9_000_000))
	}
	for _, msg := range batch {
		event.MarkRejected(msg, event.Reject(event.CodeInvalidJSON, "", "expected a value"))
	}
	url, errs := run(t, &picky{}, batch)
	if errs[0] != nil {
		t.Fatal(errs[0])
	}
	s, err := lake.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var rows []*Row
	if err := Scan(t.Context(), s, Query{}, func(r *Row) error { rows = append(rows, r); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(rows) != 4 {
		t.Fatalf("%d dead letters", len(rows))
	}
	cut, hashed := 0, 0
	for _, r := range rows {
		if r.OriginalSHA256 != "" {
			hashed++
		}
		if said := r.Cut(); said != "" {
			cut++
			if !strings.Contains(said, "9000000 bytes") || !strings.Contains(said, fmt.Sprint(len(r.Original))) ||
				!strings.Contains(said, "raw-events/0/7") {
				t.Error(said)
			}
		}
	}
	if cut != 1 || hashed != 3 {
		t.Errorf("%d of 4 dead letters are cut, want 1; %d lack something, want 3", cut, hashed)
	}
}

// Every output of a config that writes dead letters accepts messages as large as an envelope may be.
func TestConfigs_EveryOutputOfDeadLettersTakesALargeOne(t *testing.T) {
	byTemplate := regexp.MustCompile(` stage: [a-z]+\n +topic: (user-)?dead-letter\n`)
	seen, topics := 0, regexp.MustCompile(` topic: (user-)?dead-letter\n`)
	err := filepath.WalkDir("../../../configs", func(name string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(name) != ".yaml" {
			return err
		}
		raw, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		outputs, limits := len(topics.FindAll(raw, -1))-len(byTemplate.FindAll(raw, -1)),
			bytes.Count(raw, []byte(" max_message_bytes: 8MiB"))
		if seen += outputs; outputs != limits {
			t.Errorf("%s has %d outputs of dead letters, and %d that accept 8MiB", name, outputs, limits)
		}
		return nil
	})
	if err != nil || seen == 0 {
		t.Errorf("%d outputs, %v", seen, err)
	}
}
