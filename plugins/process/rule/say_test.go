package rule

import (
	"strings"
	"testing"
	"time"

	"weir/internal/platform/flow"
)

// The log of the process says which part of a rule fails, and the coordinates of the event, and has no
// value of the event.
func TestEventRules_LogsNoValuesOfEvents(t *testing.T) {
	for text, part := range map[string]string{
		strings.Replace(perMinute, "n: count()", "n: sum(this.user.mail)", 1):                      "this.user.mail",
		strings.Replace(perMinute, "rules: [{", `rules: [{ where: this.user.mail.abs() > 1,`, 1):   "where",
		strings.Replace(perMinute, "rules: [{", `rules: [{ where: 'this.user.mail + 1 > 1',`, 1):   "where",
		strings.Replace(perMinute, "[device_id]", "[device_id, 'this.user.mail.number() + 1']", 1): "key",
	} {
		b := newBench(t, text)
		o := b.operator()
		var said []string
		o.late = flow.NewBurst(time.Hour, func(line string) { said = append(said, line) })
		b.apply(o, message(0, 7, strings.Replace(at(0, 1), `"metrics":`, `"user":{"mail":"ann@example.com"},"metrics":`, 1)))
		line := strings.Join(said, "\n")
		if !strings.Contains(line, "raw-events/0/7") || !strings.Contains(line, part) || strings.Contains(line, "ann@") {
			t.Errorf("%s: logged %q", text, line)
		}
	}
}
