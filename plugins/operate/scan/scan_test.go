package scan

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/event"
	"weir/internal/lifecycle"
	"weir/internal/platform/kafka"
	"weir/internal/platform/sqldb"
)

// listed are the findings in one text.
func listed(r *Report) string {
	var all []string
	for _, f := range r.Findings {
		all = append(all, fmt.Sprintf("%s|%s|%s|%s|%d", f.Store, f.Place, f.Pointer, f.Type, f.Count))
	}
	return strings.Join(all, "\n")
}

func logged(t *testing.T, records ...*kgo.Record) Config {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "raw-events", "dead-letter", "empty"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	log, err := kafka.New(c.ListenAddrs(), nil, kafka.Login{})
	if err != nil {
		t.Fatal(err)
	}
	return Config{Log: log, Topics: []string{"raw-events", "dead-letter", "empty", "never-made"}, Names: true}
}

func TestScan_ReadsTheWholeLog(t *testing.T) {
	fleet := func(name string) kgo.RecordHeader {
		return kgo.RecordHeader{Key: event.HeaderFleet, Value: []byte(name)}
	}
	letter := `{"fleet":"acme","original_encoding":"base64","original":"` +
		base64.StdEncoding.EncodeToString([]byte("\xfe{\"a\":\"ann@example.com\"}")) + `"}`
	conf := logged(t,
		&kgo.Record{Topic: "raw-events", Partition: 0, Key: []byte("203.0.113.7"), Value: []byte(`{"device_id":"pump-1"}`),
			Headers: []kgo.RecordHeader{fleet("acme")}},
		&kgo.Record{Topic: "raw-events", Partition: 1, Value: []byte(`{"u":[{"t":"ann@example.com"},{"t":"bob@example.com"}]}`),
			Headers: []kgo.RecordHeader{fleet("other"), {Key: "email", Value: []byte("x")}}},
		&kgo.Record{Topic: "raw-events", Partition: 1, Value: []byte(`{"fleet":"acme"}`),
			Headers: []kgo.RecordHeader{fleet("other")}},
		&kgo.Record{Topic: "dead-letter", Partition: 1, Value: []byte(letter)},
	)
	for fleet, want := range map[string]string{
		"": "log|dead-letter value /original||email|1\nlog|raw-events header email||email|1\n" +
			"log|raw-events key||ip|1\nlog|raw-events value|/u/*/t|email|2",
		"acme": "log|dead-letter value /original||email|1\nlog|raw-events key||ip|1",
		"none": "",
	} {
		r, err := Run(t.Context(), conf, Options{Fleet: fleet})
		if err != nil || r.Err() != nil {
			t.Fatal(err, r)
		}
		if got := listed(r); got != want {
			t.Errorf("of fleet %q:\n%s\nwant\n%s", fleet, got, want)
		}
		if rows := map[string]int64{"": 4, "acme": 2, "none": 0}[fleet]; r.Stores[0].Rows != rows {
			t.Errorf("of fleet %q: %d rows, want %d", fleet, r.Stores[0].Rows, rows)
		}
	}
}

// What cannot be read is an error, and keeps the others from nothing.
func TestScan_AStoreThatCannotBeReadIsNoCleanOne(t *testing.T) {
	at := "sqlite://" + t.TempDir() + "/control.db"
	db, err := sqldb.Open(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	for _, query := range []string{
		`CREATE TABLE a (id BIGINT, fleet TEXT, note TEXT, body BLOB, hash TEXT)`, `CREATE TABLE b (note TEXT PRIMARY KEY) WITHOUT ROWID`,
		`INSERT INTO a VALUES (4111111111111111, 'acme', 'ann@example.com', x'0001616e6e406578616d706c652e636f6d00', '203.0.113.7')`,
		`INSERT INTO b VALUES ('ann@example.com')`,
	} {
		if _, err := db.Exec(query); err != nil {
			t.Fatal(err)
		}
	}
	for range pageRows + 1 { // more than one page
		if _, err := db.Exec(`INSERT INTO a (fleet, note) VALUES ('other', '203.0.113.7')`); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	conf := Config{Stores: lifecycle.List{
		{Name: "gone", Place: lifecycle.Rollups, Tables: []string{"a"}},
		{Name: "here", Place: lifecycle.Control, Tables: []string{"a", "never_made", "b"}, Numbers: []string{"hash"}},
	}, URLs: map[lifecycle.Place]string{lifecycle.Rollups: "sqlite:///nowhere/x.db", lifecycle.Control: at}}
	r, err := Run(t.Context(), conf, Options{})
	if err != nil || r.Err() == nil || r.Stores[0].Error == "" || r.Stores[1].Error != "" {
		t.Fatal(err, r)
	}
	want := "here|a.body||email|1\nhere|a.note||email|1\n" + fmt.Sprintf("here|a.note||ip|%d\n", pageRows+1) +
		"here|b.note||email|1"
	if got := listed(r); got != want {
		t.Errorf("found\n%s\nwant\n%s", got, want)
	}
	var table strings.Builder
	if err := r.WriteTable(&table); err != nil || !strings.Contains(table.String(), "NOT READ TO ITS END") {
		t.Errorf("%v %s", err, table.String())
	}

	r, err = Run(t.Context(), conf, Options{Fleet: "acme", Only: []string{"here"}})
	if err != nil || r.Err() != nil || listed(r) != "here|a.body||email|1\nhere|a.note||email|1" ||
		fmt.Sprint(r.Stores[0].Unread) != "[b]" {
		t.Errorf("of one fleet: %v %+v", err, r)
	}
	if _, err := Run(t.Context(), conf, Options{Only: []string{"bogus"}}); err == nil {
		t.Error("a store that is none is taken")
	}
}

// Fields whose names are ids are as many as there are ids.
func TestReport_KeepsABoundedNumberOfPlaces(t *testing.T) {
	r := &Report{counts: map[place]int64{}}
	for i := range 2 * mostPlaces {
		r.count(place{"raw", "extra", fmt.Sprint("/", i), "email"})
	}
	if r.end(); r.Found != 2*mostPlaces || len(r.Findings) > mostPlaces+1 {
		t.Errorf("%d finds at %d places", r.Found, len(r.Findings))
	}
}
