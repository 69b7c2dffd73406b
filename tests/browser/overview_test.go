package browser

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// The overview says what the proof says, to the event, and goes on saying it
// after a crash.
func TestConsole_TheEquationIsThatOfTheProof(t *testing.T) {
	w := start(t)
	p := newTab(t, w)
	p.signIn(w.admin)
	p.open("/")
	for round := range 2 {
		w.send("--devices", "20", "--events", "600", "--rate", "300", "--malformed", "1", "--duplicates", "5", "--prefix",
			fmt.Sprint("pump", round))
		want := map[string]float64{}
		w.await("everything is accounted for", func() bool {
			var proof struct{ Total map[string]any }
			if err := json.Unmarshal([]byte(w.weir("reconcile", "--json", "--data", w.data())), &proof); err != nil {
				t.Fatal(err)
			}
			for name, v := range proof.Total {
				if n, ok := v.(float64); ok {
					want[name] = n
				}
			}
			return want["in_flight"] == 0 && want["accepted"] >= 600
		})
		for _, name := range []string{"accepted", "stored", "duplicates", "dead_lettered", "erased", "in_flight"} {
			n, ok := want[name]
			if !ok {
				t.Fatalf("the proof does not tell %s: %v", name, want)
			}
			p.await(fmt.Sprintf("document.querySelector('[data-name=%s]')?.textContent.replaceAll(',', '') === '%.0f'", name, n))
		}
		p.says("It adds up.")
		if text := p.value("document.querySelector('.sum').ariaLabel"); !strings.HasPrefix(text, "Accepted ") {
			t.Errorf("in words: %s", text)
		}
		w.kill()
		p.says("weir does not answer since")
		w.run()
		p.await("!document.documentElement.hasAttribute('data-lost')")
	}
}

// A fleet's key sees nothing of what is of all fleets, and is told so.
func TestConsole_AFleetSeesItsOwnOverview(t *testing.T) {
	w := start(t)
	p := newTab(t, w)
	p.signIn(w.key)
	p.open("/")
	p.says("of all fleets together")
	p.open("/proof")
	p.await("document.querySelector('#month')")
	p.says("proofs in thirty days")
	p.open("/")
	p.says("rollups are behind")
	p.says(fleet)
	const ofAll = "document.querySelectorAll('[data-name=accepted], #stores, #processes, #groups').length"
	if got := p.value(ofAll); got != "0" {
		t.Errorf("%s parts of all fleets are shown", got)
	}
}
