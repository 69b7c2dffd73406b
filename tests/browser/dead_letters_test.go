package browser

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/cli"
	weirevent "weir/internal/event"
	"weir/internal/platform/kafka"
)

// Dead letters of every kind are shown with their errors marked and their content escaped. One that is redriven with
// a patch, by clicks only, is stored once.
func TestConsole_DeadLettersAreShownAndSentThroughAgain(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := newTab(t, w)
	at := time.Now().Add(-time.Minute)
	bad := event("pump-1", at, map[string]any{
		"metrics": map[string]any{"cpu_temp": "61.5", "battery_voltage": 3.7, "vibration": 0.2, "<b>x</b>": 1}})
	w.post(bad)
	w.raw([]byte("\xff\xfe no text at all \x00"))
	w.raw([]byte(`{"event_id": ` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `}`))
	w.await("the dead letters are stored", func() bool {
		code, raw := w.ask("GET", "/v1/dead-letters", w.admin, "")
		return code == http.StatusOK && bytes.Count(raw, []byte(`"original_size"`)) == 3
	})
	p.signIn(w.admin)
	p.open("/dead-letters?fleet=" + fleet)
	p.await("document.querySelectorAll('tbody tr').length === 3")
	p.fill("#f-code", "schema_violation")
	p.await("document.querySelectorAll('tbody tr').length === 1")
	p.await("location.search.includes('code=schema_violation')")
	p.click("tbody a", "/metrics/cpu_temp")
	p.await("document.querySelector('pre mark')?.textContent === '\"61.5\"'")
	p.await("document.querySelector('pre').textContent.includes('{\\n  \"')") // pretty-printed
	p.says("<b>x</b>")
	if n := p.value("document.querySelectorAll('pre b').length"); n != "0" {
		t.Error("what was sent became a part of the page")
	}
	p.open("/dead-letters?fleet=" + fleet + "&code=invalid_json")
	p.await("document.querySelectorAll('tbody tr').length >= 1")
	for i := range 2 {
		p.open("/dead-letters?fleet=" + fleet)
		p.await("document.querySelectorAll('tbody tr').length === 3")
		p.eval(fmt.Sprintf(`[...document.querySelectorAll("tbody td:nth-child(4) a")].filter((a) =>
			!a.textContent.includes("cpu_temp"))[%d].click()`, i), nil)
		p.await("document.querySelector('section[aria-labelledby=bytes] pre')")
	}

	patch := "root.metrics.cpu_temp = this.metrics.cpu_temp.number()"
	p.open("/dead-letters?fleet=" + fleet + "&code=schema_violation")
	p.await("document.querySelectorAll('tbody tr').length === 1")
	p.fill("#patch", patch)
	p.click("form button", "Try it")
	p.says("Of 1 dead letters 1 would be sent through again. Nothing was changed.")
	p.await("document.querySelector('.diff .add')?.textContent.includes('61.5')")
	dry := w.weir("dead-letters", "--dry-run", "--code", "schema_violation", "--patch", patch, "--data", w.data())
	if !strings.HasPrefix(dry, "1 dead letters tried: 1 would be sent through again\n") {
		t.Errorf("on a terminal it says %s", dry)
	}
	p.click("form button", "Send through again")
	p.fill("#redrive-reason", "the unit was text")
	p.click("dialog button", "Send")
	p.await("location.pathname === '/replay'")
	p.says("done")
	w.await("the event is stored", func() bool {
		code, raw := w.ask("GET", "/v1/events?device=pump-1", w.key, "")
		return code == http.StatusOK && bytes.Contains(raw, []byte(bad["event_id"].(string)))
	})
	// A second redrive skips it.
	p.open("/dead-letters?fleet=" + fleet + "&code=schema_violation")
	p.fill("#patch", patch)
	p.click("form button", "Try it")
	p.says("1 were before, and are passed over")
	p.await("[...document.querySelectorAll('form button')].find((b) => b.textContent.includes('Send through')).disabled")
	w.await("all of it is accounted for", func() bool {
		return strings.Contains(w.weir("reconcile", "--json", "--data", w.data()), `"in_flight": 0`)
	})
	_, raw := w.ask("GET", "/v1/events?device=pump-1", w.key, "")
	if n := bytes.Count(raw, []byte(bad["event_id"].(string))); n != 1 {
		t.Errorf("the event is stored %d times: %s", n, raw)
	}

	// The largest possible dead letter is shown in part, and can be saved as a file.
	w.into("raw-events", append([]byte("<i>x</i>"), bytes.Repeat([]byte("8 MiB, "), 8<<20/7)...))
	p.open("/dead-letters?fleet=" + fleet + "&stage=raw")
	p.await("[...document.querySelectorAll('tbody td')].some((e) => e.textContent.includes('8.0 MiB'))")
	p.click("tbody a", "")
	p.says("It was too large to keep: the store has its first")
	p.says("Only its first 65,536 characters are shown")
	if n := p.value("document.querySelectorAll('pre i').length"); n != "0" {
		t.Error("what was sent became a part of the page")
	}
	p.eval("URL.createObjectURL = (blob) => { window.saved = blob.size; return 'data:,'; }", nil)
	p.click("section[aria-labelledby=bytes] button", "Save")
	p.await("window.saved > 6 * 1024 * 1024")
	p.await("document.body.innerText.includes(window.saved.toLocaleString('en') + ' bytes')")
	// No task of the page blocked it for long, from its first script on.
	var longest float64
	p.eval(`new Promise((done) => {
		new PerformanceObserver((l) => done(Math.max(...l.getEntries().map((e) => e.duration)))).observe({ type: "longtask", buffered: true });
		setTimeout(() => done(0), 1000);
	})`, &longest)
	t.Logf("the longest task of the page took %.0f ms", longest)
	if longest > 5000 {
		t.Errorf("the page was frozen for %.0f ms", longest)
	}
	// Any JSON is rendered with a bounded number of elements and characters.
	for what, value := range map[string]string{
		"wide": "Array(32767).fill(0)", "deep": "JSON.parse('['.repeat(100) + ']'.repeat(100))",
		"wide within deep": "JSON.parse('['.repeat(99) + Array(30000).fill(0) + ']'.repeat(99))",
		"names":            "Object.fromEntries(Array.from({ length: 9000 }, (_, i) => ['n' + i, 1]))",
	} {
		got := p.value(`Promise.all([import("/console/js/marked.js"), import("/console/js/h.js")]).then(([m, { html, render }]) => {
			const box = document.createElement("div"), before = performance.now();
			render(html` + "`<${m.Marked} value=${" + value + "} errors=${[{ pointer: '/0', message: 'x' }, { pointer: '/n1', message: 'x' }]} />`" + `, box);
			const text = box.querySelector("pre").textContent.length;
			return text < 140000 && box.querySelectorAll("*").length < 20 && (text > 131000) === box.textContent.includes("save the file") ? "fine" :
				text + " characters in " + box.querySelectorAll("*").length + " elements";
		})`)
		if got != "fine" {
			t.Errorf("%s: %s", what, got)
		}
	}
}

// into writes a record directly into a topic, past the gate.
func (w *weir) into(topic string, value []byte) {
	w.t.Helper()
	login, err := cli.DataDir(w.data()).BrokerLogin()
	if err != nil {
		w.t.Fatal(err)
	}
	log, err := kafka.New([]string{w.kafka}, nil, login)
	if err != nil {
		w.t.Fatal(err)
	}
	client, err := kgo.NewClient(append(log.Options("browser"), kgo.ProducerBatchMaxBytes(20<<20),
		kgo.ProducerBatchCompression(kgo.NoCompression()))...)
	if err != nil {
		w.t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	limit := "20000000" // a size that the default of Kafka refuses
	answers, err := kadm.NewClient(client).AlterTopicConfigs(ctx,
		[]kadm.AlterConfig{{Op: kadm.SetConfig, Name: "max.message.bytes", Value: &limit}}, topic)
	if err != nil || answers[0].Err != nil {
		w.t.Fatal(err, answers)
	}
	record := &kgo.Record{Topic: topic, Key: []byte("pump-1"), Value: value,
		Headers: []kgo.RecordHeader{{Key: weirevent.HeaderFleet, Value: []byte(fleet)}}}
	if err := client.ProduceSync(ctx, record).FirstErr(); err != nil {
		w.t.Fatalf("putting %d bytes into the log: %v", len(value), err)
	}
}
