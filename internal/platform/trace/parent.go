package trace

import (
	"encoding/hex"

	oteltrace "go.opentelemetry.io/otel/trace"
)

// form is the pattern of a traceparent; h is a hex digit.
const form = "00-hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh-hhhhhhhhhhhhhhhh-hh"

// Offsets of the parts of a traceparent.
const (
	idStart, idEnd     = 3, 35
	spanStart, spanEnd = 36, 52
	flagsStart         = 53
)

// Valid returns a traceparent if it is well-formed, else "".
func Valid(t string) string {
	if len(t) != len(form) {
		return ""
	}
	for i := range len(form) {
		c := t[i]
		if hex := c >= '0' && c <= '9' || c >= 'a' && c <= 'f'; form[i] == 'h' && !hex || form[i] != 'h' && c != form[i] {
			return ""
		}
	}
	if zero(t[idStart:idEnd]) || zero(t[spanStart:spanEnd]) {
		return ""
	}
	return t
}

func zero(digits string) bool {
	for i := range len(digits) {
		if digits[i] != '0' {
			return false
		}
	}
	return true
}

// sampled tells whether a traceparent has the sampled flag. It looks at one byte, because the gate or another
// producer of the topic wrote it.
func sampled(t string) bool {
	if len(t) != len(form) {
		return false
	}
	c := t[len(form)-1]
	return c&1 == 1 && (c >= '0' && c <= '9') || c&1 == 0 && (c == 'b' || c == 'd' || c == 'f')
}

// muted returns a valid traceparent without the sampled flag.
func muted(t string) string {
	if t == "" || t[flagsStart:] == "00" {
		return t
	}
	return t[:flagsStart] + "00"
}

// contextOf returns the span that a valid traceparent names.
func contextOf(t string) oteltrace.SpanContext {
	var conf oteltrace.SpanContextConfig
	// Errors are ignored: a valid one is hex, and the zero id makes no parent.
	_, _ = hex.Decode(conf.TraceID[:], []byte(t[idStart:idEnd]))
	_, _ = hex.Decode(conf.SpanID[:], []byte(t[spanStart:spanEnd]))
	conf.TraceFlags, conf.Remote = oteltrace.FlagsSampled, true
	return oteltrace.NewSpanContext(conf)
}

// textOf returns the traceparent of a sampled span.
func textOf(c oteltrace.SpanContext) string {
	id, span := c.TraceID(), c.SpanID()
	b := make([]byte, 0, len(form))
	b = append(b, "00-"...)
	b = hex.AppendEncode(b, id[:])
	b = append(b, '-')
	b = hex.AppendEncode(b, span[:])
	return string(append(b, "-01"...))
}
