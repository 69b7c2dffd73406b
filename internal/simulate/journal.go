package simulate

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"
)

// journal writes what was sent and how it was answered, as JSON lines:
//
//	{"type":"run",…}      the first: when, how, with which seed
//	{"type":"sent","seq":…,"attempt":…,"kind":…,"at":…,"event_id":…,"event":{…}}
//	{"type":"verdict","seq":…,"attempt":…,"event_id":…,"verdict":…,"code":…,"status":…,"at":…}
//	{"type":"end",…}      the last, with the summary; missing after a crash
//
// seq numbers the events sent and attempt counts retries; event_id is the event's own, which a duplicate shares with
// its original. "event" is the event byte for byte and the line's last member. A "sent" line is written to the
// operating system before the request is sent: an event without a "verdict" line has verdict "unknown".
type journal struct {
	mu sync.Mutex
	w  io.Writer // nil: discard
}

const journalTime = "2006-01-02T15:04:05.000000Z"

func newJournal(w io.Writer) *journal { return &journal{w: w} }

func (j *journal) write(lines []byte) error {
	if j.w == nil || len(lines) == 0 {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := j.w.Write(lines); err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	return nil
}

func (j *journal) line(v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	return j.write(append(raw, '\n'))
}

func (j *journal) run(conf Config, start time.Time) error {
	return j.line(struct {
		Type        string  `json:"type"`
		At          string  `json:"at"`
		URL         string  `json:"url"`
		Seed        uint64  `json:"seed"`
		Devices     int     `json:"devices"`
		Series      int     `json:"series"`
		Connections int     `json:"connections"`
		Batch       int     `json:"batch"`
		Rate        float64 `json:"rate"`
		Retry       bool    `json:"retry"`
	}{"run", start.UTC().Format(journalTime), conf.URL, conf.Seed, conf.Devices, len(conf.Series),
		conf.Connections, conf.Batch, conf.Rate, conf.Retry})
}

func (j *journal) end(s *Summary) error {
	return j.line(struct {
		Type string `json:"type"`
		At   string `json:"at"`
		*Summary
	}{"end", time.Now().UTC().Format(journalTime), s})
}

func appendSent(b []byte, it item, attempt int, at time.Time, raw []byte) []byte {
	b = appendHead(b, "sent", it, attempt)
	b = append(append(append(b, `,"kind":"`...), it.kind...), `","at":"`...)
	b = at.UTC().AppendFormat(b, journalTime)
	b = append(append(b, `","event_id":"`...), eventID(raw)...)
	b = append(append(b, `","event":`...), raw...)
	return append(b, '}', '\n')
}

func appendVerdict(b []byte, it item, attempt int, at time.Time, raw []byte, a *answer, e eventAnswer) []byte {
	b = appendHead(b, "verdict", it, attempt)
	b = append(append(append(b, `,"event_id":"`...), eventID(raw)...), `","verdict":"`...)
	b = append(append(b, e.verdict...), `","code":`...)
	b = strconv.AppendQuote(b, e.code) // codes are ASCII words
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(a.status), 10)
	b = at.UTC().AppendFormat(append(b, `,"at":"`...), journalTime)
	return append(b, '"', '}', '\n')
}

func appendHead(b []byte, kind string, it item, attempt int) []byte {
	b = append(append(append(b, `{"type":"`...), kind...), `","seq":`...)
	b = strconv.AppendInt(b, it.seq, 10)
	return strconv.AppendInt(append(b, `,"attempt":`...), int64(attempt), 10)
}

// eventID returns the event_id of a simulated event, which begins with it.
func eventID(raw []byte) []byte {
	id := raw[len(`{"event_id":"`):]
	for i, c := range id {
		if c == '"' {
			return id[:i]
		}
	}
	return nil
}
