package scenarios

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"weir/tests/metricdoc"
)

// served reads /metrics: the type of each metric, its labels without those that the engine adds, and the number of
// series. It fails for a metric without a help text.
func (s *system) served() (types map[string]string, labels map[string][]string, series int) {
	s.t.Helper()
	resp, err := http.Get("http://" + s.addresses[2] + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	types, labels = map[string]string{}, map[string][]string{}
	for name, f := range families {
		types[name] = strings.ToLower(f.GetType().String())
		if says := f.GetHelp(); len(says) < 10 || strings.Contains(says, "metrics.md") {
			s.t.Errorf("%s says of itself %q", name, says)
		}
		for _, m := range f.GetMetric() {
			series++
			if h := m.GetHistogram(); h != nil {
				series += len(h.GetBucket()) + 1
			}
			var own []string
			for _, l := range m.GetLabel() {
				if !slices.Contains([]string{"stream", "label", "path"}, l.GetName()) {
					own = append(own, l.GetName())
				}
			}
			slices.Sort(own)
			labels[name] = own
		}
	}
	return types, labels, series
}

// Every metric that weir serves is in docs/metrics.md with its type and labels, and present before the first event.
// More devices and names that clients make up add no series.
func TestMetrics_TheDocumentIsWhatIsServed(t *testing.T) {
	t.Parallel()
	documented, err := metricdoc.Read(repo("docs/metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	s := newSystem(t)
	s.start()
	s.ready()
	s.greeted(1)
	first, _, _ := s.served()
	for name, m := range documented {
		if !m.Only && !m.Measured && first[name] == "" {
			t.Errorf("%s is not there from the start", name)
		}
	}
	s.until("what is measured at the start is not there", func() bool {
		types, _, _ := s.served()
		for name, m := range documented {
			if m.Measured && types[name] == "" {
				return false
			}
		}
		return true
	})
	s.createKey()
	_, wait := s.fleet("--devices", "50", "--rate", "200", "--duration", "2s", "--malformed", "2")
	wait()
	s.until("no raw events and rollups were stored", func() bool {
		return s.metric("weir_raw_rows_total") > 0 && s.metric("weir_rollup_rows_total") > 0
	})
	_, _, before := s.served()
	_, wait = s.fleet("--devices", "10000", "--rate", "2500", "--duration", "5s", "--malformed", "2", "--prefix", "more")
	wait()
	s.until("no dead letters were stored", func() bool { return s.metric("weir_dead_letter_rows_total") > 0 })
	types, labels, after := s.served()
	for name, kind := range types {
		m, known := documented[name]
		switch {
		case strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_"):
		case !known:
			t.Errorf("docs/metrics.md lacks %s, a %s", name, kind)
		case m.Type != kind || !slices.Equal(slices.Sorted(slices.Values(m.Labels)), labels[name]):
			t.Errorf("docs/metrics.md says %s is a %s with %q; it is a %s with %q", name, m.Type, m.Labels, kind, labels[name])
		}
	}
	t.Logf("%d series, and with 10,000 devices more %d", before, after)
	if after > 900 || after > before+100 {
		t.Errorf("%d series, and with 10,000 devices more %d", before, after)
	}
}
