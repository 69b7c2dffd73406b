package simulate

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"weir/internal/platform/rawjson"
)

// Verdict is the outcome of one event of one request.
type Verdict string

// The verdicts.
const (
	verdictAccepted Verdict = "accepted" // acknowledged: must be stored
	verdictRejected Verdict = "rejected" // must be in the dead letters with its code
	verdictRefused  Verdict = "refused"  // the whole request was refused: none of it may be stored
	verdictUnknown  Verdict = "unknown"  // no acknowledgement: may be stored or not
)

// answer is the result of one request. Its slices are valid until the next request.
type answer struct {
	status     int           // 0 without an answer
	retryAfter time.Duration // 0 when the answer names none
	code       string        // why the request got no verdicts
	verdict    Verdict       // of all its events, unless events is set
	events     []eventAnswer // one per event, after 202, 207 and 400
	breach     string        // how the answer breaks the contract, or ""
}

type eventAnswer struct {
	verdict Verdict
	code    string
	seen    bool
}

// retryable tells whether the same request may succeed later.
func (a *answer) retryable() bool {
	return a.status == 0 || a.status == 408 || a.status == 429 || a.status >= 500
}

// of returns the outcome of event i of the request.
func (a *answer) of(i int) eventAnswer {
	if len(a.events) > 0 {
		return a.events[i]
	}
	return eventAnswer{verdict: a.verdict, code: a.code}
}

// readVerdicts parses {"accepted":n,"rejected":n,"events":[…]} and checks that it has exactly one verdict for each of
// the n events.
func (c *client) readVerdicts(body []byte, n int) error {
	a := &c.ans
	for range n {
		a.events = append(a.events, eventAnswer{})
	}
	accepted, rejected, seen := -1, -1, 0
	count := func(i int, into *int) (int, error) {
		end, err := rawjson.Number(body, i)
		if err == nil {
			*into, err = strconv.Atoi(rawjson.Alias(body[i:end]))
		}
		return end, err
	}
	_, err := rawjson.Object(body, rawjson.Space(body, 0), 0, func(key []byte, _ bool, i int) (int, error) {
		switch string(key) {
		case "accepted":
			return count(i, &accepted)
		case "rejected":
			return count(i, &rejected)
		case "events":
			return rawjson.Array(body, i, 1, func(i int) (int, error) {
				seen++
				return c.readVerdict(body, i, count)
			})
		}
		return rawjson.Value(body, i, 1)
	})
	if err != nil {
		return fmt.Errorf("reading the verdicts: %w", err)
	}
	taken := 0
	for i := range a.events {
		if !a.events[i].seen {
			return fmt.Errorf("no verdict for event %d of %d", i, n)
		}
		if a.events[i].verdict == verdictAccepted {
			taken++
		}
	}
	switch {
	case seen != n || accepted != taken || rejected != n-taken:
		return fmt.Errorf("accepted %d, rejected %d, %d verdicts of which %d accepted, for %d events", accepted, rejected,
			seen, taken, n)
	case a.status == 202 && taken < n, a.status == 400 && taken > 0, a.status == 207 && (taken == 0 || taken == n):
		return fmt.Errorf("%d of %d events accepted", taken, n)
	}
	return nil
}

func (c *client) readVerdict(body []byte, i int, count func(int, *int) (int, error)) (int, error) {
	index, status, code := -1, -1, ""
	end, err := rawjson.Object(body, i, 2, func(key []byte, _ bool, i int) (int, error) {
		switch string(key) {
		case "index":
			return count(i, &index)
		case "status":
			return count(i, &status)
		case "code":
			if body[i] != '"' {
				break
			}
			end, plain, err := rawjson.String(body, i)
			if err == nil && end-i > 2 {
				code = c.intern(body[i+1:end-1], plain)
			}
			return end, err
		}
		return rawjson.Value(body, i, 3)
	})
	if err != nil {
		return end, err
	}
	if index < 0 || index >= len(c.ans.events) || c.ans.events[index].seen {
		return end, fmt.Errorf("a verdict with index %d", index)
	}
	e := eventAnswer{verdict: verdictAccepted, seen: true}
	if status != 202 {
		e.verdict, e.code = verdictRejected, code
	}
	if status != 202 && (status != 400 || code == "") {
		return end, fmt.Errorf("event %d has status %d and code %q", index, status, code)
	}
	c.ans.events[index] = e
	return end, nil
}

// intern returns a shared copy of a code, since there are few.
func (c *client) intern(b []byte, plain bool) string {
	if s, ok := c.codes[string(b)]; ok {
		return s
	}
	s := strings.Clone(rawjson.Text(b, plain))
	c.codes[string(b)] = s
	return s
}
