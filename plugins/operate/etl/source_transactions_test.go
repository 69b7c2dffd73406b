package etl

import (
	"fmt"
	"testing"
)

// What who keeps all changes sees of a transaction is counted without a gap, whatever
// goes unseen from tables that merge.
func TestChanged_NumbersAreOfWhatIsSeen(t *testing.T) {
	c := &changed{facts: changeFacts{operation: "op", number: "n"}, end: "7"}
	a, b := row{{text: "a"}}, row{{text: "b"}}
	c.row(nil, a, false, false)
	c.row(a, a, true, false)
	c.row(a, b, true, true)
	c.row(b, nil, false, false)
	got := ""
	for _, one := range c.all {
		got += fmt.Sprint(one.row[0].text, " ", one.row[1].text, " ", one.row[2].text, " ", one.place)
		if one.op == opUnseen {
			got += " unseen"
		}
		got += "; "
	}
	const want = "a insert 1 7/1; a delete 2 7/2 unseen; a update 2 7/2; a delete 3 7/3; b insert 4 7/4; b delete 5 7/5; "
	if got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// A queue that is full waits for who takes, and does something meanwhile; of quiet it
// waits for nobody.
func TestTransactionQueue_WaitsWhileMuchWaits(t *testing.T) {
	q := &transactionQueue[int]{out: make(chan *transaction[int], 1)}
	give := func(n int64, meanwhile func() error) error {
		return q.hand(t.Context(), &transaction[int]{end: n, quiet: 1 - min(n, 1), bytes: mostQueued + 1}, meanwhile)
	}
	if err := give(1, nil); err != nil {
		t.Fatal(err)
	}
	if err := give(0, nil); err != nil { // quiet
		t.Fatal(err)
	}
	waited := 0
	if err := give(2, func() error {
		if waited++; waited == 2 {
			q.queued.Add(-int64((<-q.out).bytes))
		}
		return nil
	}); err != nil || waited < 2 {
		t.Error(err, waited)
	}
}
