package scenarios

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// planted returns personal values of one person, by where an event has them. None may be found anywhere.
func planted() map[string]string {
	return map[string]string{
		"email": "ann.planted@example.com", "written": "ann.planted%40example.net", "folded": "ann.planted＠example.org",
		"card": "4539 1488 0343 6467", "iban": "DE89 3704 0044 0532 0130 00", "phone": "+49 151 55501234",
		"home": "(202) 555-0143",
		"ip":   "203.0.113.77", "ip6": "2001:db8::5a17:77", "ssn": "219-09-9999", "password": "planted-hunter2",
		"id":   "u-planted-77",
		"name": "Annabel Planted", "city": "Plantedville", "session": "s-planted-4711", "lat": "48.401234567",
	}
}

// personal returns an event that contains all planted values.
func personal(extra string) string {
	p := planted()
	return fmt.Sprintf(`{"event_id":%q,"device_id":"browser-1","device_firmware_version":"1.2.0","timestamp":%q,"metrics":{"amount":12.50},`+
		`"metadata":{"type":"order_placed","source":"web"},"user":{"id":%q,"email":%q,"name":%q,"address":{"city":%q}},`+
		`"context":{"ip":%q,"session_id":%q,"location":{"lat":%s},"page":{"url":"https://x.example/?q=1&mail=%s&password=%s"}},`+
		`"payload":{"note":"call %s or %s, pay %s","log":"{\"from\":\"%s\",\"iban\":\"%s\"}","%s":1,"list":["%s",["%s"]],`+
		`"kept":"kept-in-clear"%s}}`,
		uuid.NewString(), time.Now().UTC().Format(time.RFC3339Nano), p["id"], p["email"], p["name"], p["city"], p["ip"],
		p["session"],
		p["lat"], p["written"], p["password"], p["phone"], p["home"], p["card"], p["ip6"], p["iban"], p["email"], p["ssn"],
		p["folded"], extra)
}

// aged returns the event with a timestamp in the past.
func aged(raw string, by time.Duration) string {
	_, rest, _ := strings.Cut(raw, `"timestamp":"`)
	now, _, _ := strings.Cut(rest, `"`)
	return strings.Replace(raw, now, time.Now().Add(-by).UTC().Format(time.RFC3339Nano), 1)
}

// Events with personal data are accepted, refused and malformed. None of the planted values is in a file, a log line,
// a metric or an answer; a value that is not personal is kept. Parquet and other compressed files hide values from a
// search of bytes: they are covered by the scan and by the answers of the API.
func TestPrivacy_APlantedPersonIsNowhere(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	for _, dir := range []string{"configs", "schemas", "bloblang"} {
		if err := os.CopyFS(filepath.Join(s.dir, dir), os.DirFS(repo(dir))); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(repo("configs/user_events.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "configs", "streams", "ingest.yaml"), raw, 0o644); err != nil {
		t.Fatal(err)
	}
	s.env = []string{"WEIR_PRIVACY_KEYS=k1:only-a-test-knows-this", "WEIR_RULES_IDLE=1s"}
	s.start()
	s.ready()
	s.createKey()
	first := personal("")
	var said strings.Builder
	for _, sent := range []struct {
		body string
		want int
	}{
		{first, http.StatusAccepted}, {personal(""), http.StatusAccepted}, {first, http.StatusAccepted},
		// the last is a duplicate
		{strings.Replace(personal(""), `"metadata"`, `"meta"`, 1), http.StatusBadRequest},
		{strings.Replace(personal(""), `"1.2.0"`, `"ann.planted@example.com"`, 1), http.StatusBadRequest},
		{strings.Replace(personal(""), `"order_placed"`, `7`, 1), http.StatusBadRequest},
		{strings.Replace(personal(""), `"browser-1"`, `"ann.planted@example.com/x"`, 1), http.StatusAccepted}, // hashed
		{aged(personal(""), 25*time.Hour), http.StatusBadRequest},                                             // stale
		{personal("")[:700], http.StatusBadRequest},
		{strings.Replace(personal(""), `"amount":12.50`, `"ann.planted@example.com":"x"`, 1), http.StatusBadRequest},
	} {
		status, reply := s.answer(sent.body)
		if status != sent.want {
			t.Errorf("answered %d, want %d: %s\n%s", status, sent.want, reply, sent.body)
		}
		said.WriteString(reply)
	}
	s.drained()
	var found struct{ Events []json.RawMessage }
	s.get(fmt.Sprintf("/v1/events?limit=100&from=%s&to=%s", time.Now().Add(-time.Hour).UTC().Format(time.RFC3339),
		time.Now().Add(time.Hour).UTC().Format(time.RFC3339)), s.key, &found)
	if len(found.Events) != 3 {
		t.Errorf("%d events are stored, want 3", len(found.Events))
	}
	all := map[string][]byte{"the answers": []byte(said.String())}
	for i, e := range found.Events {
		all[fmt.Sprintf("event %d", i)] = e
		if !bytes.Contains(e, []byte("kept-in-clear")) || !bytes.Contains(e, []byte("pii-email-k1-")) ||
			!bytes.Contains(e, []byte(`"amount":12.5`)) {
			t.Errorf("a stored event is %s", e)
		}
	}
	list, err := s.weir("dead-letters", "--json", "--limit", "100", "--data", s.data)
	if err != nil {
		t.Fatal(err)
	}
	var letters struct {
		All []struct{ ID string } `json:"dead_letters"`
	}
	if err := json.Unmarshal([]byte(list), &letters); err != nil || len(letters.All) != 6 || !strings.Contains(list, `"stale"`) {
		t.Fatalf("%d dead letters, want 6 (%v): %s", len(letters.All), err, list)
	}
	all["the dead letters"] = []byte(list)
	for _, l := range letters.All {
		whole, err := s.weir("dead-letters", "--id", l.ID, "--data", s.data)
		if err != nil || !strings.Contains(whole, "browser-1") {
			t.Errorf("a dead letter has not its bytes (%v): %s", err, whole)
		}
		all["dead letter "+l.ID] = []byte(whole)
	}
	resp, err := http.Get("http://" + s.addresses[2] + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	var metrics bytes.Buffer
	_, err = metrics.ReadFrom(resp.Body)
	resp.Body.Close()
	if err != nil || !strings.Contains(metrics.String(), `weir_privacy_found_total`) {
		t.Fatalf("metrics: %v", err)
	}
	all["the metrics"] = metrics.Bytes()
	if out, code := s.scan(); code != 0 {
		t.Errorf("the scan of what privacy left ends with %d:\n%s", code, out)
	}
	s.whatPeopleDo()
	s.shutsOut()
	if status, reply := s.answer(personal("")); status != http.StatusAccepted { // rules too keep no personal value
		t.Errorf("answered %d: %s", status, reply)
	}
	s.drained()
	s.stop()
	clear := 0
	if err := filepath.WalkDir(s.data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if bytes.Contains(raw, []byte("kept-in-clear")) {
			clear++
		}
		all[path] = raw
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if clear == 0 {
		t.Error("no file has what is not personal: the search finds nothing")
	}
	if all["up.log"], err = os.ReadFile(filepath.Join(s.dir, "up.log")); err != nil {
		t.Fatal(err)
	}
	for where, raw := range all {
		for what, value := range planted() {
			if at := bytes.Index(raw, []byte(value)); at >= 0 {
				t.Errorf("%s has the %s: …%q…", where, what, raw[max(0, at-40):min(len(raw), at+60)])
			}
		}
	}
}
