package plugins

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/plugins/operate/scan"
)

// A device that is an address is found wherever it is kept: in each table of the
// list that has it, in events, dead letters and old minutes. What is found is told
// by type and place. Nothing is found of a fleet that has nothing personal.
func TestScan_FindsADeviceInEveryStore(t *testing.T) {
	everywhere(t, func(w *filled) {
		const device = "203.0.113.7"
		minute := time.Now().Add(-time.Hour)
		devices := [][2]string{{"acme", device}, {"other", "pump-1"}}
		w.aged(2, devices...)
		for _, d := range devices {
			w.happened(d[0], d[1], minute, 3)
			w.spoken(d[0], d[1], minute)
		}
		conf := scan.Config{Stores: stores(), URLs: w.urls, OldMinutes: w.old, Names: true, Regions: []string{"US"}}
		report, err := scan.Run(w.Context(), conf, scan.Options{})
		must(w.T, err)
		must(w.T, report.Err())
		found := func(store, place, pointer string) bool {
			return slices.ContainsFunc(report.Findings, func(f scan.Finding) bool {
				return f.Store == store && (f.Place == place || strings.HasPrefix(f.Place, place+".")) && f.Type == "ip" &&
					(pointer == "" || f.Pointer == pointer)
			})
		}
		looked := 0
		for _, kind := range stores() {
			if !kind.Place.SQL() {
				continue
			}
			have := w.naming(w.db(kind.Place), device)
			for _, table := range kind.Tables {
				if !slices.Contains(have, table) {
					continue
				}
				if looked++; !found(kind.Name, table, "") {
					w.Errorf("store %s: nothing is found in table %s", kind.Name, table)
				}
			}
		}
		if looked < 6 {
			w.Errorf("only %d tables have the device", looked)
		}
		for _, at := range [][3]string{{"raw", "device_id"}, {"dead_letters", "device_id"},
			{"dead_letters", "original", "/device_id"}, {scan.OldMinutes, "device_id"}} {
			if !found(at[0], at[1], at[2]) {
				w.Errorf("nothing is found at %v", at)
			}
		}
		text, err := json.Marshal(report)
		must(w.T, err)
		if strings.Contains(string(text), device) {
			w.Errorf("the report has the value: %s", text)
		}

		clean, err := scan.Run(w.Context(), conf, scan.Options{Fleet: "other"})
		must(w.T, err)
		if must(w.T, clean.Err()); clean.Found > 0 {
			w.Errorf("found of a fleet that has nothing: %+v", clean.Findings)
		}
		later, err := scan.Run(w.Context(), conf, scan.Options{Since: time.Now().Add(time.Hour), Only: []string{"raw"}})
		must(w.T, err)
		if must(w.T, later.Err()); later.Stores[0].Rows > 0 {
			w.Errorf("read of objects that were written before: %+v", later.Stores)
		}
	})
}
