package etl

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"
)

// texts are of every type: right ones, ones that are nearly so, and ones with a byte
// changed.
func texts() (all []string) {
	all = []string{"", "-", "0", "-0", "00", "007", "+1", "1", "-1", "9999", "99999", "32768", "-32768", "999999999",
		"9999999999", "999999999999999999", "9999999999999999999", "0.1", "-0.0", "-0.00", "0.00", "1.", ".5", "1.50",
		"123456", "1234567", "0.0001", "0.00001", "0.10", "123456.789012345", "16777217", "0.3", "123.25", "1000.25",
		"1e5", "2026-02-28", "2026-02-29", "2024-02-29", "1900-02-29", "2000-02-29", "0000-01-01", "0001-01-01",
		"9999-12-31", "2026-13-01", "2026-04-31", "2026-1-01", "2026-01-02T03:04:05", "2026-01-02 03:04:05",
		"2026-01-02T03:04:05.5", "2026-01-02T03:04:05.50", "2026-01-02T03:04:05.123456", "2026-01-02T03:04:05.1234567",
		"2026-01-02T03:04:05.", "2026-01-02T24:00:00", "2026-01-02T23:60:00", "2026-01-02T23:59:60",
		"2026-01-02T03:04:05Z", "2026-01-02T03:04:05.5Z", "2026-01-02T03:04:05,5Z", "2026-01-02T03:04:05+00",
		"9999-12-31T23:59:59.999999Z", "0197b2f4-5d0e-7c3a-9f1e-3b5a7c9d1e2f", "0197B2F4-5d0e-7c3a-9f1e-3b5a7c9d1e2f",
		"0197b2f4-5d0e-7c3a-9f1e-3b5a7c9d1e2g", "0197b2f45d0e7c3a9f1e3b5a7c9d1e2f0000"}
	random := rand.New(rand.NewPCG(5, 6))
	for _, text := range all[:] {
		for range 20 {
			if b := []byte(text); len(b) > 0 {
				b[random.IntN(len(b))] = "0123456789-.:TZ +é"[random.IntN(18)]
				all = append(all, string(b))
			}
		}
	}
	for range 20_000 {
		whole := strings.TrimLeft(strconv.Itoa(random.IntN(1e7)), "0")
		all = append(all, whole, whole+"."+strconv.Itoa(random.IntN(1e9)), "0."+strings.Repeat("0", random.IntN(6))+whole,
			strconv.FormatFloat(float64(random.Float32()), 'f', random.IntN(9), 32),
			strconv.FormatFloat(random.ExpFloat64(), 'g', -1, 64))
	}
	return all
}

func allTypes() (all []columnType) {
	for _, k := range kinds() {
		all = append(all, columnType{kind: k})
	}
	return append(all, columnType{kindDecimal, 5, 2}, columnType{kindDecimal, 2, 2}, columnType{kindDecimal, 18, 0},
		columnType{kindDecimal, 38, 9})
}

// A text that is plain is what taking it apart gives.
func TestPlain_IsCanonical(t *testing.T) {
	plain := map[columnType]int{}
	for _, of := range allTypes() {
		for _, text := range texts() {
			if !of.plain(text) {
				continue
			}
			plain[of]++
			if got, err := of.careful(text); err != nil || got != text {
				t.Errorf("%s %q: %q, %v", of, text, got, err)
			}
		}
	}
	for _, of := range allTypes() {
		if of.kind != kindBool && of.kind != kindText && of.kind != kindBytes && of.kind != kindJSON && plain[of] == 0 {
			t.Errorf("no text is a plain %s", of)
		}
	}
}

func FuzzPlain(f *testing.F) {
	for _, text := range texts()[:200] {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, of := range allTypes() {
			if got, err := of.careful(text); of.plain(text) && (err != nil || got != text) {
				t.Errorf("%s %q: %q, %v", of, text, got, err)
			}
		}
	})
}

// Days and microseconds are those of the library, from the first day to the last.
func TestTime_IsTheSameInstantInParquet(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	first, last := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	for day := first; day.Before(last); day = day.AddDate(0, 0, 1) {
		at := day.Add(time.Duration(random.Int64N(86400e6)) * time.Microsecond)
		date, text := at.Format(formDate), at.Format(formTimestamp)
		if !plainDate(date) || dayOf(date) != day.Unix()/86400 {
			t.Fatalf("%s is day %d", date, dayOf(date))
		}
		if !plainTime(text) || microsOf(text) != at.UnixMicro() || microsOf(text+"Z") != at.UnixMicro() {
			t.Fatalf("%s is %d, not %d", text, microsOf(text), at.UnixMicro())
		}
	}
}

// What PostgreSQL writes of a time reads the same at a glance and taken apart.
func TestPostgres_TimesAtAGlance(t *testing.T) {
	var s slab
	for _, of := range []columnType{{kind: kindTimestamp}, {kind: kindTimestampTZ}} {
		read := 0
		for _, text := range texts() {
			for _, v := range []string{text, strings.Replace(text, "T", " ", 1), strings.Replace(text, "T", " ", 1) + "+00",
				strings.TrimSuffix(text, "Z") + "+05:30"} {
				got, is := s.postgresTime(of, []byte(v))
				if want, err := of.careful(v); is && (err != nil || got != want) {
					t.Errorf("%s %q: %q, want %q, %v", of, v, got, want, err)
				}
				if is {
					read++
				}
			}
		}
		if read == 0 {
			t.Errorf("no %s was read", of)
		}
	}
}
