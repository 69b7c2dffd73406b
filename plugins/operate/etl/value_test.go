package etl

import (
	"bytes"
	"encoding/hex"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestValue_IsKeptExactlyOrRefused(t *testing.T) {
	for of, values := range map[string]map[string]string{
		"bool":    {"true": "true", "t": "true", "f": "false", "1": "!", "TRUE": "!"},
		"int16":   {"32767": "32767", "-32768": "-32768", "32768": "! fit", "1.0": "!", "+1": "!", "": "!", "007": "7"},
		"int64":   {"9223372036854775807": "9223372036854775807", "9223372036854775808": "! fit", "1e3": "!"},
		"float32": {"0.1": "0.1", "1e39": "! fit", "NaN": "NaN", "-Infinity": "-Infinity", "0x1p-2": "!"},
		"float64": {"0.1": "0.1", "1e400": "! fit", "5e-324": "5e-324", "-0": "-0", "1_0": "!"},
		"decimal(5,2)": {"1.5": "1.50", "-0": "0.00", "-0.01": "-0.01", "999.99": "999.99", "1000": "! fit",
			"1.005": "! digits", "1.500": "1.50", ".5": "0.50", "NaN": "!", "1e2": "!", "": "!"},
		"decimal(2,0)": {"12": "12", "12.0": "12", "123": "! fit"},
		"text":         {"": "", "\xff": "! UTF-8"},
		"date": {"2026-02-28": "2026-02-28", "2026-02-30": "!", "0001-01-01": "0001-01-01", "0000-00-00": "!",
			"infinity": "!", "0044-03-15 BC": "!"},
		"timestamp": {"2026-01-02 03:04:05.1": "2026-01-02T03:04:05.1", "2026-01-02T03:04:05.123456789": "! finer",
			"2026-01-02T03:04:05Z": "!", "infinity": "!", "2038-01-19T03:14:08": "2038-01-19T03:14:08"},
		"timestamptz": {"2026-01-02 03:04:05+00": "2026-01-02T03:04:05Z", "2026-01-02T03:04:05": "!",
			"2026-01-02T03:04:05.5+05:30": "2026-01-01T21:34:05.5Z"},
		"uuid":          {"0197B2F4-5d0e-7c3a-9f1e-3b5a7c9d1e2f": "0197b2f4-5d0e-7c3a-9f1e-3b5a7c9d1e2f", "0197b2f4": "!"},
		"json":          {`{"a": 1.10}`: `{"a": 1.10}`, "{": "!"},
		"decimal(38,9)": {"12345678901234567890123456789.123456789": "12345678901234567890123456789.123456789"},
	} {
		typ, err := parseType(of)
		if err != nil {
			t.Fatal(err)
		}
		for text, want := range values {
			got, err := typ.canonical(text)
			refused, says := strings.CutPrefix(want, "!")
			shown := err != nil && len(text) > 5 && strings.Contains(err.Error(), text)
			if says != (err != nil) || err == nil && got != want || shown ||
				err != nil && !strings.Contains(err.Error(), strings.TrimSpace(refused)) {
				t.Errorf("%s %q: %q, %v, want %q", of, text, got, err, want)
			}
		}
	}
}

// A decimal in Parquet is its digits in two's complement, whatever its width.
func TestDecimal_IsTheSameNumberInParquet(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		p := 1 + random.IntN(mostDigits)
		of := columnType{kindDecimal, p, random.IntN(p + 1)}
		digits := make([]byte, p)
		for i := range digits {
			digits[i] = byte('0' + random.IntN(10))
		}
		text := string(digits[:p-of.scale]) + "." + string(digits[p-of.scale:])
		if random.IntN(2) == 0 {
			text = "-" + text
		}
		canonical, err := of.canonical(text)
		if err != nil {
			t.Fatalf("%s %s: %v", of, text, err)
		}
		a, _ := new(big.Rat).SetString(strings.TrimSuffix(text, "."))
		b, ok := new(big.Rat).SetString(canonical)
		if !ok || a == nil || a.Cmp(b) != 0 {
			t.Fatalf("%s %s became %s", of, text, canonical)
		}
		v, err := new(parquetEncoder).value(of, canonical)
		if err != nil {
			t.Fatal(err)
		}
		var back *big.Int
		if p <= 18 {
			back = big.NewInt(v.Int64())
			if p <= 9 {
				back = big.NewInt(int64(v.Int32()))
			}
		} else {
			back = new(big.Int).SetBytes(v.ByteArray())
			if v.ByteArray()[0] >= 0x80 {
				back.Sub(back, new(big.Int).Lsh(big.NewInt(1), decimalBytes*8))
			}
		}
		if back.String() != strings.TrimLeft(strings.Replace(canonical, ".", "", 1), "0") &&
			new(big.Rat).SetFrac(back, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(of.scale)), nil)).Cmp(b) != 0 {
			t.Fatalf("%s %s is %s in Parquet", of, canonical, back)
		}
	}
}

// What is written as CSV reads as it was: null, "" and whatever else.
func TestCSV_WhatIsWrittenReadsAsItWas(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	text := columnType{kind: kindText}
	columns := []column{{`a"b`, text}, {"é,", columnType{kind: kindBytes}}, {"c", text}}
	var want []row
	var file bytes.Buffer
	e, err := newEncoder("csv", columns, &file)
	if err != nil {
		t.Fatal(err)
	}
	pieces := []string{"", `"`, ",", "\n", "\r\n", " ", "x", "ключ", "\x00", `""`}
	for range 2000 {
		r := make(row, 3)
		for i := range r {
			if random.IntN(4) == 0 {
				r[i].null = true
				continue
			}
			for range random.IntN(4) {
				r[i].text += pieces[random.IntN(len(pieces))]
			}
		}
		want = append(want, r)
		if err := e.write(r); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "x.csv")
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	in, err := fileSource{path: path, shown: "x.csv", format: "csv", columns: columns}.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer in.close()
	if err := in.from(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	for i := range want {
		got, position, err := in.next()
		if err != nil {
			t.Fatalf("row %d: %v", i, err)
		}
		for j := range got {
			if got[j] != want[i][j] {
				t.Fatalf("row %d column %d: %+v, want %+v", i, j, got[j], want[i][j])
			}
		}
		if i%100 == 0 { // as a run goes on
			if err := in.from(t.Context(), position); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n, err := in.count(t.Context()); err != nil || n != int64(len(want)) {
		t.Errorf("counted %d, %v", n, err)
	}
	for _, line := range []string{`a"b`, `"a"b`, `"a`, `a,"b" ,c`} {
		if cells, err := splitCSV(line); err == nil {
			t.Errorf("%s is read as %+v", line, cells)
		}
	}
}

func FuzzABlockReadsAsItWas(f *testing.F) {
	f.Add("a", "", []byte{1})
	f.Fuzz(func(t *testing.T, a, b string, reject []byte) {
		s := stage{dir: t.TempDir()}
		if err := os.Mkdir(filepath.Join(s.dir, blocksFolder), 0o700); err != nil {
			t.Fatal(err)
		}
		want := &block{rows: []row{{{text: a}, {null: true}, {text: b}}, {}}, rejects: [][]byte{reject}}
		if err := s.put(1, want); err != nil {
			t.Fatal(err)
		}
		got, err := s.get(1)
		if err != nil || len(got.rows) != 2 || got.rows[0][0].text != a || !got.rows[0][1].null || got.rows[0][2].text != b ||
			!bytes.Equal(got.rejects[0], reject) {
			t.Fatalf("%+v, %v", got, err)
		}
		raw, err := os.ReadFile(s.path(1))
		if err != nil {
			t.Fatal(err)
		}
		raw[len(raw)/2] ^= 1
		if err := os.WriteFile(s.path(1), raw, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.get(1); err == nil || !strings.Contains(err.Error(), "damaged") {
			t.Fatalf("damaged by one bit (%s): %v", hex.EncodeToString(raw), err)
		}
	})
}
