package deadletter

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/control/identity"
	"weir/internal/event"
	"weir/internal/lifecycle/tombstone"
	"weir/plugins/store/lake"
)

// named returns the names of persons in an original, sorted and each once. alone says that no device
// could be read from it.
func named(original string, alone bool) (all []string) {
	eachPerson([]byte(original), alone, func(name []byte) bool {
		all = append(all, string(name))
		return true
	})
	slices.Sort(all)
	return slices.Compact(all)
}

func TestDeadLetter_APersonIsNamedWhereEventsNameThem(t *testing.T) {
	for original, want := range map[string][]string{
		`{"device_id":"d","user":{"id":"ann","anonymous_id":"a1","person":"p","name":"n"},"payload":{"user":{"id":"bob"}}}`: {"a1",
			"ann", "p"},
		`{"device_id":"d","user":{"id":42}}`:                                           {"42"},
		`{"device_id":"d","user":"ann"}`:                                               {"ann"},
		`{"device_id":"d","user":[{"id":"ann"},"bob",[{"id":"c"}]]}`:                   {"ann", "bob"},
		`[{"user":{"id":"ann"}},{"user":{"id":"bob"}},7]`:                              {"ann", "bob"},
		`{"device_id":"d","payload":{"id":"ann"},"id":"ann"}`:                          nil,
		`{"device_id":"d","user":{"id":"a\u006en|\u00fc"}}`:                            {"ann|ü"},
		`{"device_id":"d","user":{"id":"ann","orders":[{"n":1},{"n":`:                  {"ann"}, // truncated
		`{"device_id":"d","user":{"id":"ann","id":"bob"}}`:                             {"ann", "bob"},
		`{"device_id":"d", broken "user":{"x":"}","id":"a@b|c"},"id":"bob"`:            {"a@b|c"},
		`{"device_id":"d","a":"unended, "user":{"id" : "ann"},"payload":{"id":"bob"}}`: {"ann"},
		`{"device_id":"d","user":{"id":"an`:                                            nil,
		`{"device_id":"d","user"`:                                                      nil,
		`{"device_id":"d","user":`:                                                     nil,
	} {
		if got := named(original, false); !slices.Equal(got, want) {
			t.Errorf("%s names %q, expected %q", original, got, want)
		}
	}
}

// If neither a device nor a user can be read, any word or text is taken as a name.
func TestDeadLetter_WithoutADeviceAnyTextMayNameAPerson(t *testing.T) {
	for _, original := range []string{`{broken "id":"ann|ü"`, `{"note":"it is","who":"ann|ü"}`, `{'id': 'ann|ü'}`,
		`user=ann|ü&x=1`, `{"original":"{\"user\":{\"id\":\"ann|ü\"}}"}`, `{x "ann|\u00fc" y}`, `"ann|ü`, `ann|ü`} {
		if !slices.Contains(named(original, true), "ann|ü") {
			t.Errorf("%s does not name ann|ü: %q", original, named(original, true))
		}
	}
	if got := named(`{"user":{"id":"bob"},"payload":{"friend":"ann"}}`, true); !slices.Equal(got, []string{"bob"}) {
		t.Errorf("a letter with a user names %q, want only the user", got)
	}
	stopped := 0
	eachPerson([]byte(`{"a":"b","c":"d"}`), true, func([]byte) bool { stopped++; return false })
	if stopped != 1 {
		t.Errorf("eachPerson called the function %d times, want no call after it returned false", stopped)
	}
}

// Bytes that are crafted to be slow are read in linear time: quadratic time exceeds the limit.
func TestDeadLetter_HostileBytesAreReadInLinearTime(t *testing.T) {
	for _, of := range []string{`"user":{`, `\"`, `"`, `{"user":`, `'`, `"user":{"id":"`, `[`, `{"a":`, `\\\"`} {
		whole := strings.Repeat(of, (1<<18)/len(of))
		began := time.Now()
		named(whole, true)
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("256 KiB of %s took %s", of, took)
		}
	}
}

// oddID returns a random text that is a valid id of a person.
func oddID(r *rand.Rand) string {
	signs := []rune(`abz09._:-|@#/\"'{}[],;=& <>%+*?!~$^()äüßéøñ漢字🙂`)
	for {
		id := make([]rune, 1+r.IntN(12))
		for i := range id {
			id[i] = signs[r.IntN(len(signs))]
		}
		if s := string(id); identity.ValidID("id", s) == nil && s != "a" && s != "b" {
			return s
		}
	}
}

// The erasure of a person, whose id may have any valid characters, removes all dead letters that
// name the person, of whatever device, and no others. They are refused when they arrive again.
func TestDeadLetter_LettersOfAPersonAreErasedWhateverTheirID(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 25 {
		ctx, url := context.Background(), lake.FileURL(t.TempDir())
		o, until := kept(t, url), someTime
		id := oddID(r)
		quoted, err := json.Marshal(id)
		if err != nil {
			t.Fatal(err)
		}
		theirs := []string{
			fmt.Sprintf(`{"device_id":"ghost","user":{"id":%s}}`, quoted),
			fmt.Sprintf(`{"device_id":"ghost","user":{"id":"other","anonymous_id":%s}}`, inASCII(id)),
			fmt.Sprintf(`{"device_id":"ghost","user":{"id":"other","person":%s},"metrics":{`, quoted),
			fmt.Sprintf(`{broken "id":%s`, quoted),
			fmt.Sprintf(`{"event_id":"no device","user":%s}`, quoted),
		}
		others := []string{
			fmt.Sprintf(`{"device_id":"ghost","user":{"id":"other"},"payload":{"about":%s,"user":{"id":%s}}}`, quoted, quoted),
			fmt.Sprintf(`{"device_id":"ghost","user":{"id":%s}}`, inASCII(id+"a")),
			fmt.Sprintf(`{"user":{"id":%s},"payload":%s}`, inASCII("b"+id), quoted),
			fmt.Sprintf(`{"device_id":"ghost","name":%s}`, quoted),
		}
		send := func(o *output, from int) {
			t.Helper()
			var batch service.MessageBatch
			for i, original := range append(slices.Clone(theirs), others...) {
				batch = append(batch, message(0, from+i, mustJSON(t, letter(t, "acme", original, until))))
			}
			batch = append(batch, message(0, from+50, mustJSON(t, letter(t, "other", theirs[0], until))),
				message(0, from+51, mustJSON(t, letter(t, "acme", theirs[0], until.Add(time.Second)))))
			if err := o.WriteBatch(ctx, batch); err != nil {
				t.Fatal(err)
			}
		}
		send(o, 100)
		target := tombstone.Target{Fleet: "acme", Device: id, Name: true, Until: until.UnixMicro()}
		if err := o.Store.Bury(ctx, target.Stone()); err != nil {
			t.Fatal(err)
		}
		removed, err := o.Store.Erase(ctx, Table(), lake.Erasure{Fleet: "acme", Device: id, Name: true, Until: until})
		if err != nil || removed.Rows != int64(len(theirs)) {
			t.Fatalf("the erasure of %q removed %d of %d dead letters, %v", id, removed.Rows, len(theirs), err)
		}
		send(kept(t, url), 200) // they arrive again
		count := map[string]int{}
		for _, r := range stored(t, url) {
			if r.Fleet == "acme" && r.FailedAt <= until.UnixMicro() {
				count[string(r.Original)]++
			}
		}
		for _, original := range theirs {
			if count[original] > 0 {
				t.Errorf("%q is erased, and this was stored again: %s", id, original)
			}
		}
		for _, original := range others {
			if count[original] == 0 {
				t.Errorf("the erasure of %q removed a dead letter of another person: %s", id, original)
			}
		}
	}
}

// inASCII returns a text as a JSON string of ASCII characters.
func inASCII(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b.WriteString(`\` + string(c))
		case c > 0xffff:
			c -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+c>>10, 0xdc00+c&0x3ff)
		case c > 0x7e:
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			b.WriteRune(c)
		}
	}
	return b.String() + `"`
}

// A dead letter that arrives after the erasure of a person is refused by the same rules by which the
// erasure finds stored ones.
func TestDeadLetter_AnErasedLetterIsRefusedWhenItComesAgain(t *testing.T) {
	set := tombstone.NewSet([]tombstone.Stone{tombstone.OfName("acme", "a|1", someTime)})
	for original, want := range map[string]bool{`{"device_id":"d","user":{"id":"a|1"}}`: true, `{x "a|1"`: true,
		`{"device_id":"d","payload":"a|1"}`: false, `{"device_id":"a1"}`: false} {
		r, err := NewEnvelope(Failure{Stage: "raw", Fleet: "acme", FailedAt: someTime, Original: []byte(original),
			Rejection: event.Reject(event.CodeInvalidEvent, "", "x")}).row()
		if err != nil || r.erased(set) != want {
			t.Errorf("%s: %t, %v", original, !want, err)
		}
	}
}
