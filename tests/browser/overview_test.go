package browser

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// terms are the addends of the equation.
var terms = []string{"stored", "duplicates", "dead_lettered", "erased", "in_flight"}

// equation maps each term, and "accepted", to its number of records.
type equation map[string]int64

// shown returns the equation that the page shows.
func (p *tab) shown() equation {
	e := equation{}
	p.eval(`Object.fromEntries([...document.querySelectorAll(".sum [data-name]")].map((e) =>
		[e.dataset.name, Number(e.textContent.replaceAll(",", ""))]))`, &e)
	return e
}

// watchSums makes the page check every equation that it shows: sums.wrong collects those that do not add up.
func (p *tab) watchSums() {
	p.eval(`(() => {
		const sums = window.sums = { shown: 0, last: "", wrong: [] };
		new MutationObserver(() => {
			const shown = [...document.querySelectorAll(".sum [data-name]")].map((e) => Number(e.textContent.replaceAll(",", "")));
			const text = shown.join(" ");
			if (!shown.length || text === sums.last) return;
			sums.last = text;
			sums.shown++;
			if (shown[0] !== shown.slice(1).reduce((a, b) => a + b, 0)) sums.wrong.push(text);
		}).observe(document.body, { subtree: true, childList: true, characterData: true });
	})()`, nil)
}

// proven returns the equation of weir reconcile.
func (w *weir) proven() equation {
	w.t.Helper()
	var proof struct{ Total equation }
	if err := json.Unmarshal([]byte(w.weir("reconcile", "--json", "--data", w.data())), &proof); err != nil {
		w.t.Fatal(err)
	}
	return proof.Total
}

// counted returns how many events the gate of this process has written to the log, rejected ones included.
func (w *weir) counted() int64 {
	w.t.Helper()
	return int64(w.sum("weir_gate_accepted_events_total", "") + w.sum("weir_gate_rejected_events_total", ""))
}

// agree waits until the page, weir reconcile and accepted() report the same numbers with nothing in flight. No sender
// may be active.
func (p *tab) agree(when string, accepted func() int64) equation {
	p.t.Helper()
	var proof, page equation
	var counted int64
	for end := time.Now().Add(2 * patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		proof, page, counted = p.w.proven(), p.shown(), accepted()
		same := proof["in_flight"] == 0 && proof["accepted"] == counted && proof["accepted"] == page["accepted"]
		for _, name := range terms {
			n, told := proof[name]
			same = same && told && n == page[name]
		}
		if same {
			return proof
		}
	}
	p.t.Fatalf("%s: weir reconcile says %v, the page %v, and %d are counted", when, proof, page, counted)
	return nil
}

// The overview shows the numbers of weir reconcile and of the metrics, to the event: under load while the sender is
// paused, after a crash under load, and after a crash while nothing is sent, when the counters of the next process
// count on from there.
func TestConsole_TheEquationIsThatOfTheProof(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := newTab(t, w)
	p.signIn(w.admin)
	p.open("/")
	p.watchSums()
	w.post(event("pump-1", time.Now(), nil)) // so that the gate knows the key: a refused fleet retries late
	load := w.load("--devices", "20", "--prefix", "pump", "--rate", "300", "--duration", "20m", "--malformed", "1",
		"--duplicates", "5")
	more := func(than int64) {
		t.Helper()
		w.await("the page counts on", func() bool { return p.shown()["accepted"] >= than })
	}
	more(300)
	before, meanwhile := p.shown(), w.proven() // under load the second is newer
	for _, name := range []string{"accepted", "stored", "duplicates", "dead_lettered"} {
		if before[name] > meanwhile[name] {
			t.Errorf("the page said %v, and weir reconcile thereafter %v", before, meanwhile)
		}
	}
	more(meanwhile["accepted"])
	load.signal(sigStop)
	first := p.agree("under load", w.counted)

	load.signal(sigCont)
	more(first["accepted"] + 200)
	w.kill()
	p.says("weir does not answer since")
	w.run()
	p.await("!document.documentElement.hasAttribute('data-lost')")
	more(first["accepted"] + 400)
	load.signal(sigStop)
	second := p.agree("after a crash under load", func() int64 { return p.shown()["accepted"] })
	w.did("POST", "/v1/proof", w.admin, "")
	w.await("the metrics say what the proof says", func() bool {
		same := int64(w.sum("weir_reconcile_records", "")) == second["accepted"]
		for _, name := range terms {
			same = same && int64(w.sum("weir_reconcile_records", `outcome="`+name+`"`)) == second[name]
		}
		return same
	})

	w.kill()
	w.run()
	p.await("!document.documentElement.hasAttribute('data-lost')")
	load.signal(sigCont)
	more(second["accepted"] + 300)
	load.signal(sigStop)
	third := p.agree("after a crash while nothing is sent", func() int64 { return second["accepted"] + w.counted() })
	if third["duplicates"] == 0 || third["stored"] < third["accepted"]/2 {
		t.Errorf("too little became of what was sent: %v", third)
	}
	p.says("It adds up.")
	for _, form := range []string{"--json=false", "--json"} { // one line, because stdout is no terminal
		said := w.weir("top", "--once", form, "--data", w.data())
		if !strings.Contains(said, fmt.Sprint(third["accepted"])) || strings.Contains(said, "\x1b") ||
			form != "--json" && strings.Contains(said, "\n") {
			t.Errorf("weir top --once %s says %s", form, said)
		}
	}
	if text := p.value("document.querySelector('.sum').ariaLabel"); !strings.HasPrefix(text, "Accepted ") {
		t.Errorf("in words: %s", text)
	}
	if got := p.value("sums.shown >= 5 && !sums.wrong.length"); got != "true" {
		t.Errorf("the page showed %s", p.value("JSON.stringify(sums)"))
	}
}

// The key of a fleet sees nothing of other fleets, and the page says so.
func TestConsole_AFleetSeesItsOwnOverview(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := newTab(t, w)
	p.signIn(w.key)
	p.open("/")
	p.says("of all fleets together")
	p.open("/proof")
	p.await("document.querySelector('#month')")
	p.says("proofs in thirty days")
	leave := w.lookedAt(50) // the maximum of viewers
	p.open("/")
	p.says("asked every five seconds, for as many look already as may")
	leave()
	p.says("rollups are behind")
	p.says(fleet)
	const ofAll = "document.querySelectorAll('[data-name=accepted], #stores, #processes, #groups').length"
	if got := p.value(ofAll); got != "0" {
		t.Errorf("%s parts of all fleets are shown", got)
	}
}
