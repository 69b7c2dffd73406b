package rollup

import (
	"fmt"
	"testing"
	"time"

	"weir/internal/event"
)

// flushes adds the batches that a process of a cluster gets from 50,000 devices that report every
// ten seconds: each process has a third of the devices, of which a fifth sends something every two
// seconds.
func flushes(t *testing.T, s *Store, devices, minutes int) (events int) {
	t.Helper()
	const every, interval = 2, 10
	for tick := range minutes * 60 / every {
		now := noon.Add(time.Duration(tick*every) * time.Second)
		c := NewCollector(devices / (interval / every))
		for d := tick % (interval / every); d < devices; d += interval / every {
			body := testEvent(tick*devices+d, fmt.Sprintf("device-%05d", d), now, fmt.Sprintf(
				`{"cpu_temp":%d.25,"battery_voltage":3.7%d,"vibration":0.1%d}`, 40+(d+tick)%20, tick%10, d%10))
			var e event.Event
			if err := event.Parse([]byte(body), &e); err != nil {
				t.Fatal(err)
			}
			c.Add("acme", &e, now, "", "", false)
		}
		add(t, s, now, c.Windows())
		events += len(c.Windows())
		s.begun = s.begun.Add(-every * time.Second) // as if that time had passed between two batches
		s.added = s.clock()
		if err := s.writeDue(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return events
}

// PostgreSQL writes a fifth of a row per event, in all tables together, and a third of the WAL
// that writing the window's row each time takes.
func TestRollup_AnEventIsAFifthOfARow(t *testing.T) {
	const devices, minutes = 3000, 3
	measure := func(every time.Duration) (rows, wal float64) {
		s := openLazy(t, onPostgres(t))
		s.limits.WriteEvery = every
		for _, table := range []string{"rollup_window_1m", "rollup_journal", "rollup_writer", "rollup_hour"} {
			if _, err := s.db.Exec(fmt.Sprintf(`CREATE TABLE IF NOT EXISTS written (n bigint);
				CREATE FUNCTION note_%[1]s() RETURNS trigger LANGUAGE plpgsql AS $$
					BEGIN INSERT INTO written SELECT count(*) FROM new; RETURN NULL; END $$;
				CREATE TRIGGER i AFTER INSERT ON %[1]s REFERENCING NEW TABLE AS new FOR EACH STATEMENT EXECUTE FUNCTION note_%[1]s();
				CREATE TRIGGER u AFTER UPDATE ON %[1]s REFERENCING NEW TABLE AS new FOR EACH STATEMENT EXECUTE FUNCTION note_%[1]s()`,
				table)); err != nil {
				t.Fatal(err)
			}
		}
		position := func() (at float64) {
			if err := s.db.QueryRow(`SELECT pg_current_wal_insert_lsn() - '0/0'`).Scan(&at); err != nil {
				t.Fatal(err)
			}
			return at
		}
		before := position()
		events := float64(flushes(t, s, devices, minutes))
		if err := s.leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		wal = (position() - before) / events
		if err := s.db.QueryRow(`SELECT sum(n) FROM written`).Scan(&rows); err != nil {
			t.Fatal(err)
		}
		if got := int64(rows); got < s.Use().Written {
			t.Errorf("%d rows were seen of %d", got, s.Use().Written)
		}
		return rows / events, wal
	}
	rows, wal := measure(time.Minute)
	each, full := measure(0)
	t.Logf("%.3f rows an event and %.0f bytes of WAL (of the whole server); with each batch %.3f and %.0f",
		rows, wal, each, full)
	if rows > 0.2 || rows < 1.0/6 {
		t.Errorf("%.3f rows an event, expected 0.2 at most", rows)
	}
	if each < 0.9 {
		t.Errorf("%.3f rows an event where each batch writes them: that was not counted", each)
	}
}
