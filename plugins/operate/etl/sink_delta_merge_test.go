package etl

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Merged rows take the place of those with their key and of no other, whichever file
// they are in, as in a map.
func TestDelta_MergesByItsKey(t *testing.T) {
	dir, o := t.TempDir(), options(t)
	const merges = `"mode": "merge", "key": ["id"], "partition_by": ["x"]`
	random := rand.New(rand.NewPCG(1, 2))
	want := map[string]string{}
	columns := append(idAndText(), column{"price", columnType{kindDecimal, 5, 2}})
	for n := range 8 {
		var rows []row
		for _, id := range random.Perm(12)[:random.IntN(5)] {
			r := row{{text: strconv.Itoa(id)}, {text: "p" + strconv.Itoa(random.IntN(3))}, {text: fmt.Sprintf("%d.00", n)}}
			rows, want[r[0].text] = append(rows, r), r[1].text+" "+r[2].text
		}
		runs(t, toDelta(t, dir, "p", merges, columns, rows), o)
		got := map[string]string{}
		for _, r := range backFromDelta(t, dir) {
			if _, twice := got[r[0].text]; twice {
				t.Errorf("%s is there twice", r[0].text)
			}
			got[r[0].text] = r[1].text + " " + r[2].text
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("run %d: it has %v, and not %v", n, got, want)
		}
	}
	seen := python(t, readDelta, filepath.Join(dir, "shop/t"))
	if strings.Count(seen, `"id"`) != len(want) {
		t.Errorf("they read %s", seen)
	}
	before := fmt.Sprint(sortedRows(backFromDelta(t, dir)))
	for says, c := range map[string]struct {
		more    string
		columns []column
		row     row
	}{
		"two rows of the run have the same id: dedupe":  {merges, columns, row{{text: "1"}, {text: "p"}, {text: "1.00"}}},
		`column "id" is null in a row`:                  {merges, columns, row{{null: true}, {text: "p"}, {text: "1.00"}}},
		`column "price" of the table: the run has none`: {merges, columns[:2], row{{text: "1"}, {text: "p"}}},
		`there is no column "other" here`: {`"mode": "merge", "key": ["other"]`, columns, row{{text: "1"}, {text: "p"},
			{text: "1.00"}}},
	} {
		if _, err := toDelta(t, dir, "p", c.more, c.columns, []row{c.row, c.row}).Run(t.Context(), options(t)); !Final(err) ||
			!strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %s", err, says)
		}
	}
	if after := fmt.Sprint(sortedRows(backFromDelta(t, dir))); after != before {
		t.Errorf("it has %s, and had %s", after, before)
	}
}

// Runs that merge at one moment are as if one had been after the other, and leave no
// file that is of no version.
func TestDelta_MergesThatMeetAreOneAfterTheOther(t *testing.T) {
	dir := t.TempDir()
	const merges = `"mode": "merge", "key": ["id"]`
	runs(t, toDelta(t, dir, "first", merges, idAndText(), numberedRows(0, 9)), options(t))
	var group sync.WaitGroup
	for n := range 5 {
		o := options(t)
		p := toDelta(t, dir, fmt.Sprintf("w%d", n), merges, idAndText(), []row{
			{{text: "0"}, {text: fmt.Sprintf("by %d", n)}}, {{text: strconv.Itoa(n + 5)}, {text: fmt.Sprintf("by %d", n)}}})
		group.Go(func() {
			if _, err := p.Run(t.Context(), o); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	got := strings.Join(sortedRows(backFromDelta(t, dir)), " ")
	for n := range 10 {
		want := fmt.Sprintf("{text:%d null:false} {text:row %d null:false}", n, n)
		switch {
		case n == 0:
			want = "{text:0 null:false} {text:by "
		case n >= 5:
			want = fmt.Sprintf("{text:%d null:false} {text:by %d null:false}", n, n-5)
		}
		if strings.Count(got, want) != 1 {
			t.Errorf("%s is not there once: %s", want, got)
		}
	}
	logs, _ := filepath.Glob(filepath.Join(dir, "shop/t/_delta_log/*.json"))
	added := 0
	for _, log := range logs {
		raw, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		added += strings.Count(string(raw), "\n{\"add\":")
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "shop/t/*.parquet")); len(files) != added || len(logs) != 6 {
		t.Errorf("%d files, and %d in %d versions", len(files), added, len(logs))
	}
}

// A store that fails is tried again; rows that do not fit are not.
func TestDelta_AStoreThatFailsIsNotTheRows(t *testing.T) {
	p, o := toDelta(t, t.TempDir(), "p", appends, idAndText(), numberedRows(1, 2)), options(t)
	s := o.stage(p.Name)
	release, err := s.lock()
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	_, at, err := p.stageRows(t.Context(), o, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	as := []deltaColumn{{column: p.columns[0]}, {column: p.columns[1]}}
	d := newDeltaFiles(p.columns, as, nil, at.Run, 0, func(string, []byte) error { return errors.New("it is away") })
	d.size = mostOpen // with the next row a file is ended
	if err := p.encodeRows(t.Context(), s, at, &Sink{}, d); err == nil || Final(err) ||
		!strings.Contains(err.Error(), "it is away") {
		t.Error(err)
	}
}

// However many partitions there are, and in whatever order their rows come, each has
// one file, as long as memory holds the rows.
func TestDelta_ManyPartitionsAreAFileEach(t *testing.T) {
	const many, each = 1000, 3
	as := []deltaColumn{{column: idAndText()[0]}, {column: idAndText()[1]}}
	put := 0
	d := newDeltaFiles(idAndText(), as, []string{"id"}, "run", 0, func(string, []byte) error { put++; return nil })
	for i := range many * each {
		if err := d.write(row{{text: strconv.Itoa(i % many)}, {text: "x"}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.end(); err != nil || put != many || len(d.added) != many ||
		!strings.Contains(d.added[0].Stats, `"numRecords":3`) {
		t.Errorf("%d files, %v", put, err)
	}
}
