package rule

import (
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
)

func (b *bench) versions() *Versions {
	b.Helper()
	db, err := sqldb.Open(b.Context(), b.url)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	v, err := OpenVersions(b.Context(), db)
	if err != nil {
		b.Fatal(err)
	}
	return v
}

func (v *Versions) put(t testing.TB, text string) Version {
	t.Helper()
	kept, err := v.Put(t.Context(), text, "ann", "why")
	if err != nil {
		t.Fatal(err)
	}
	return kept
}

func (v *Versions) activate(t testing.TB, number int64) Activation {
	t.Helper()
	a, err := v.Activate(t.Context(), number, "ann")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// A text is stored once as a version, and only if it is valid. A rollback returns to what was in force
// before, and another one to what was before that.
func TestVersions_ARollbackGoesBackToWhatWasBefore(t *testing.T) {
	for name, prepare := range map[string]func(*bench){"sqlite": func(*bench) {}, "postgres": (*bench).postgres} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, perMinute)
			prepare(b)
			v := b.versions()
			var wrong *ProblemsError
			if _, err := v.Put(t.Context(), "rules: [{}]", "ann", ""); !errors.As(err, &wrong) {
				t.Fatalf("a wrong text: %v", err)
			}
			if list, err := v.List(t.Context()); err != nil || len(list) != 0 {
				t.Fatalf("an invalid text is stored: %v %v", list, err)
			}
			one, two, three := v.put(t, perMinute), v.put(t, perMinute+"\n# 2"), v.put(t, perMinute+"\n# 3")
			if again := v.put(t, perMinute); again.Number != one.Number || again.CreatedAt != one.CreatedAt {
				t.Errorf("the same text is stored as %+v and %+v", one, again)
			}
			if one.Version == two.Version || !slices.Equal(three.Rules, []string{"minute"}) || three.CreatedBy != "ann" {
				t.Errorf("%+v", three)
			}
			if _, err := v.Activate(t.Context(), 9, "ann"); !errors.Is(err, ErrNoVersion) {
				t.Errorf("activating a version that does not exist: %v", err)
			}
			for _, n := range []int64{1, 2, 2, 3} {
				if a := v.activate(t, n); a.Number != n || a.By != "ann" || a.At.IsZero() {
					t.Fatalf("activating %d: %+v", n, a)
				}
			}
			var went []string
			back := func() (err error) {
				a, err := v.Rollback(t.Context(), "bob")
				went = append(went, fmt.Sprintf("%d %s", a.Number, a.By))
				return err
			}
			if err := errors.Join(back(), back()); err != nil {
				t.Fatal(err)
			}
			v.activate(t, 3)
			if err := errors.Join(back(), back()); err != nil {
				t.Fatal(err)
			}
			if err := back(); !errors.Is(err, ErrNoneBefore) {
				t.Errorf("a rollback with nothing before: %v", err)
			}
			if a, err := v.Active(t.Context()); err != nil || a.Number != 0 || a.Version != "" {
				t.Errorf("in the end the file is not in force: %+v %v", a, err)
			}
			expect(t, went, "2 bob", "1 bob", "1 bob", "0 bob", "0 ")
		})
	}
}

// A partition takes a version up with its next batch, and the offset from which it applies is written with
// it. A rule that is the same in both versions keeps its open windows, also over a rollback.
func TestEventRules_TakeAVersionUpAtAnOffset(t *testing.T) {
	b := newBench(t, "rules: []")
	v := b.versions()
	first := v.put(t, perMinute)
	rule := strings.TrimSuffix(strings.TrimPrefix(perMinute, "rules: ["), "]")
	second := v.put(t, "rules: ["+rule+", "+strings.Replace(rule, "minute", "other", 1)+"]")
	o := b.operator()
	b.apply(o, message(0, 0, at(0, 1)))
	v.activate(t, first.Number)
	b.apply(o, message(0, 1, at(1*s, 1)), message(1, 0, at(1*s, 1)))
	v.activate(t, second.Number)
	b.apply(o, message(0, 2, at(2*s, 1)))
	o = b.operator()
	b.apply(o, message(0, 1, at(1*s, 1)), message(0, 2, at(2*s, 1)), message(0, 3, at(3*s, 1))) // again, after a crash
	if _, err := v.Rollback(t.Context(), "ann"); err != nil {
		t.Fatal(err)
	}
	b.apply(o, message(0, 4, at(70*s, 1)))
	if got := b.count("minute"); !slices.Equal(got, []string{"pump-1 0s 3"}) {
		t.Errorf("the rule that was in both versions counted %q", got)
	}
	if got := b.count("other"); len(got) != 0 {
		t.Errorf("a rule that is not in force any more has results: %q", got)
	}
	var since []string
	rows, err := o.db.Query(`SELECT part, first, version FROM rule_switch ORDER BY part, first`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var part, from int
		var version string
		if err := rows.Scan(&part, &from, &version); err != nil {
			t.Fatal(err)
		}
		since = append(since, fmt.Sprintf("%d/%d %d", part, from, slices.Index([]string{"", first.Version, second.Version},
			version)))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	expect(t, since, "0/1 1", "0/2 2", "0/4 1", "1/0 1")
	now, err := v.Partitions(t.Context())
	want := []Since{{Topic: "raw-events", Version: first.Version, Offset: 4},
		{Topic: "raw-events", Partition: 1, Version: first.Version}}
	if err != nil || !reflect.DeepEqual(now, want) {
		t.Errorf("partitions count by %v (%v), want %v", now, err, want)
	}
}

// A commit that began under rules that are not in force any more fails, so that no process takes a
// partition back to earlier rules.
func TestEventRules_CommitByWhatIsInForceAlone(t *testing.T) {
	b := newBench(t, "rules: []")
	v := b.versions()
	v.activate(t, v.put(t, perMinute).Number)
	o := b.operator()
	b.apply(o, message(0, 0, at(0, 1)))
	_, seq, err := o.inForce(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v.activate(t, v.put(t, perMinute+"\n# 2").Number)
	err = o.commit(t.Context(), seq, func(*sql.Tx, *tombstone.Set) ([]*held, error) { return nil, nil })
	if !errors.Is(err, errSwitched) {
		t.Errorf("a commit by the version before: %v", err)
	}
	b.apply(o, message(0, 1, at(1*s, 1)))
}

// If a process cannot read the active version, it goes on with the rules before. A process that has no
// rules from before does not apply batches.
func TestEventRules_AVersionOfANewerWeirChangesNothing(t *testing.T) {
	b := newBench(t, perMinute)
	v := b.versions()
	o := b.operator()
	b.apply(o, message(0, 0, at(0, 1)))
	if _, err := v.db.Exec(`INSERT INTO rule_version (number, version, rules, comment, created_by, created_at, text)
		VALUES (2, 'x', '[]', '', '', 0, 'rules: [{newer: true}]')`); err != nil { // 1 is of the file
		t.Fatal(err)
	}
	v.activate(t, 2)
	b.apply(o, message(0, 1, at(1*s, 1)), message(0, 2, at(70*s, 1)))
	if got := b.count("minute"); !slices.Equal(got, []string{"pump-1 0s 2"}) {
		t.Errorf("the rules before counted %q", got)
	}
	started := b.operator()
	if err := started.WriteBatch(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("a process that has no rules before: %v", err)
	}
}
