package cli

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// quietStart filters what is written to standard output until flush is called, which returns when all of it is
// written. It drops the engine's log lines that report each component as active at start, and those about reads that
// a clean stop cancels. The engine's log levels cannot do that without dropping important lines. A crash loses the
// log lines in the pipe, but no events: no stream of weir writes events to standard output.
func quietStart() (flush func(), err error) { return filtered(idleLines()) }

// quietStop is for streams that run without weir up: it drops the lines of a clean stop, unless one of the streams
// writes events to standard output.
func quietStop(l launch) (flush func(), err error) {
	if l.verb != "run" && l.verb != "streams" {
		return func() {}, nil
	}
	if prints, err := anyHas(printsEvents, append(l.resources, l.configs...)); prints || err != nil {
		return func() {}, err
	}
	return filtered(cutReads())
}

// nothing matches no line.
var nothing = regexp.MustCompile(`[^\s\S]`)

func filtered(idle *regexp.Regexp) (flush func(), err error) {
	if slices.Contains([]string{"DEBUG", "TRACE", "ALL"}, strings.ToUpper(os.Getenv("WEIR_LOG_LEVEL"))) {
		idle = nothing
	}
	from, to, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("starting the log: %w", err)
	}
	out := os.Stdout
	os.Stdout = to
	flushed := make(chan struct{})
	go quieten(out, from, idle, sync.OnceFunc(func() { close(flushed) }))
	return func() {
		os.Stdout = out
		// The pipe stays open: a failed start may still log, and would complain about a closed log.
		if _, err := to.WriteString(flushMark); err == nil {
			<-flushed
		}
	}, nil
}

// flushMark marks the end of what a flush waits for. It never occurs in the log.
const flushMark = "\x00weir flushes its log\x00\n"

// idleLines matches the lines to drop, in both formats of the log.
func idleLines() *regexp.Regexp {
	return regexp.MustCompile(`level=info msg="(Input|Output) type [a-z0-9_]+ is now active"` +
		`|"level":"info","msg":"(Input|Output) type [a-z0-9_]+ is now active"|` + cutReads().String())
}

// cutReads matches log lines about reads that a stop cancelled.
func cutReads() *regexp.Regexp {
	return regexp.MustCompile(`level=warning msg="Kafka broker read failed" .*err="context canceled"` +
		`|"err":"context canceled".*"level":"warning","msg":"Kafka broker read failed"`)
}

// The engine's log lines about failed HTTP requests contain the URL, which for a lookup contains its key, and the
// answer. Only the kind of failure and the configured URL without password and options are kept.
var (
	failedRequest = regexp.MustCompile(`(HTTP (?:parallel )?request to '.*?' failed: )((?:[^"\\]|\\.)*)`)
	ofPassword    = regexp.MustCompile(`(://[^/@:' ]*):[^/@' ]+@`)
	ofOptions     = regexp.MustCompile(`( to '[^'?]*\?)[^']*'`)
	kindOfFailure = regexp.MustCompile(`unexpected response code \(\d{3}\)|context (?:deadline exceeded|canceled)|` +
		`connection (?:refused|reset by peer)|no such host|no route to host|i/o timeout|EOF|x509: |tls: |` +
		`timed out waiting for next request`)
)

// withoutKeys removes personal data and secrets from a line about a failed request.
func withoutKeys(line []byte) []byte {
	at := failedRequest.FindSubmatchIndex(line)
	if at == nil {
		return line
	}
	kind := kindOfFailure.Find(line[at[4]:at[5]])
	if kind == nil {
		kind = []byte("for a reason that is left out")
	}
	head := ofPassword.ReplaceAll(line[:at[3]], []byte("${1}:…@"))
	head = ofOptions.ReplaceAll(head, []byte("${1}…'"))
	return slices.Concat(head, bytes.TrimRight(kind, ": "), line[at[5]:])
}

// quieten copies lines except idle ones, cleaned by withoutKeys. It calls flushed when everything before a flushMark
// is written, or when nothing more can be written.
func quieten(to io.Writer, from io.Reader, idle *regexp.Regexp, flushed func()) {
	defer flushed()
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadBytes('\n')
		line, marked := bytes.CutSuffix(line, []byte(flushMark))
		if !idle.Match(line) {
			if _, werr := to.Write(withoutKeys(line)); werr != nil { // discard the log rather than block the streams
				flushed()
				_, _ = io.Copy(io.Discard, lines)
				return
			}
		}
		if marked {
			flushed()
		}
		if err != nil {
			return
		}
	}
}
