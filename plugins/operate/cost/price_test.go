package cost

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestPrices_EachFaultIsNamed(t *testing.T) {
	list := func(lines ...string) string { return "name: x\nprices:\n  " + strings.Join(lines, "\n  ") + "\n" }
	for text, want := range map[string]string{
		"":                     "empty",
		"name: x\nprice: {}\n": "field price not found",
		"prices: {}\n":         "name: expected",
		"name: x\nprices: 5\n": "cannot unmarshal",
		list("moon: {price: 1, per: hour, source: s, date: 2026}"):                  "prices.moon: expected one of disk, ",
		list("disk: {price: 1, per: hour, source: s, date: 2026}"):                  `prices.disk.per: expected "GB-month"`,
		list("disk: {price: -1, per: GB-month, source: s, date: 2026}"):             "disk.price: expected 0 or more",
		list("disk: {price: .nan, per: GB-month, source: s, date: 2026}"):           "prices.disk.price",
		list("disk: {price: .inf, per: GB-month, source: s, date: 2026}"):           "prices.disk.price",
		list("disk: {price: cheap, per: GB-month, source: s, date: 2026}"):          "cannot unmarshal",
		list("disk: {price: 1, per: GB-month, date: 2026}"):                         "prices.disk.source: expected",
		list("disk: {price: 1, per: GB-month, source: s}"):                          "prices.disk.date: expected",
		list("disk: {price: 1, per: GB-month, source: s, date: yesterday}"):         "prices.disk.date: expected",
		list("disk: {price: 1, per: GB-month, source: s, date: 2026, note: y}"):     "field note not found",
		list("disk: {per: GB-month}", "object: {price: 1, per: GB-month, date: y}"): "prices.object.source",
		list("disk: {per: GB-month}") + "---\nname: y\n":                            "second YAML document",
	} {
		if _, err := ParsePrices([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, expected %q", text, err, want)
		}
	}
}

func TestPrices_OldOnesAreNamed(t *testing.T) {
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	for date, old := range map[string]bool{"2026-11-01": false, "2026-06-01": false, "2026-05-30": true, "2026-06": false,
		"2026-05": true, "2026": true} {
		one := 1.0
		p := Prices{Lines: map[string]Price{"disk": {Amount: &one, Source: "a page", Date: date}, "object": {Date: "2001"}}}
		if got := p.Old(now); (len(got) == 1) != old || old && got[0] != "disk ("+date+", a page)" {
			t.Errorf("%s: %v", date, got)
		}
	}
}

func TestHosted_BillsShowTheirArithmetic(t *testing.T) {
	raw, err := os.ReadFile("../../../configs/prices/hosted.yaml")
	if err != nil {
		t.Fatal(err)
	}
	h, err := ParseHosted(raw)
	if err != nil {
		t.Fatal(err)
	}
	totals := map[string]float64{}
	for _, b := range h.Bills(Baseline()) {
		if b.Total != nil {
			totals[b.Service] = *b.Total
		} else if len(b.NotPriced) != len(b.Items) {
			t.Errorf("%+v", b)
		}
		for _, i := range b.Items {
			if i.Formula == "" || i.Quantity <= 0 {
				t.Errorf("%+v", i)
			}
		}
	}
	near(t, "logs", totals["Datadog, events as logs"], 13_140*1.70+3403*0.10)
	near(t, "series", totals["Datadog, readings as custom metrics"], 10_000)
	near(t, "Timestream", totals["AWS IoT Core and Timestream for LiveAnalytics"], 6570+1703+175)
	for text, want := range map[string]string{
		"services:\n  - {name: x}\n": "expected a name and lines",
		"services:\n  - name: x\n    lines: [{of: love, per: million, what: y}]\n":  "services.0.lines.0.of: expected one of",
		"services:\n  - name: x\n    lines: [{of: kept, per: GB-month, what: y}]\n": "expected bytes and days",
		"services:\n  - name: x\n    lines: [{of: sent, per: GB, price: 1}]\n":      "services.0.lines.0.source",
	} {
		if _, err := ParseHosted([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, expected %q", text, err, want)
		}
	}
}
