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

// quietStart sends what is written to standard output through a filter, until
// flush is called, which returns when all of it is written. The filter takes out
// the lines of the engine's log that say, at each start, of every component that
// it is active, and at each clean stop that requests which wait for records were
// cut off. The engine has no levels for components, and one of its levels for
// all would take out what matters. A crash loses what is in the pipe, which is
// of the log alone: no stream of weir writes events to standard output.
func quietStart() (flush func(), err error) { return filtered(idleLines()) }

// quietStop is for streams that run without weir up: lines that a clean stop
// writes are left out, unless one of the streams writes events to standard output.
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
		// The pipe stays open: what a start that failed has begun still logs, and
		// would say once a line that its log is closed.
		if _, err := to.WriteString(flushMark); err == nil {
			<-flushed
		}
	}, nil
}

// flushMark follows the last line that a flush waits for; no log has it.
const flushMark = "\x00weir flushes its log\x00\n"

// idleLines matches the lines to leave out, in both formats of the log.
func idleLines() *regexp.Regexp {
	return regexp.MustCompile(`level=info msg="(Input|Output) type [a-z0-9_]+ is now active"` +
		`|"level":"info","msg":"(Input|Output) type [a-z0-9_]+ is now active"|` + cutReads().String())
}

// cutReads matches those of reads that a stop cuts off.
func cutReads() *regexp.Regexp {
	return regexp.MustCompile(`level=warning msg="Kafka broker read failed" .*err="context canceled"` +
		`|"err":"context canceled".*"level":"warning","msg":"Kafka broker read failed"`)
}

// Of what the engine says of a request that failed, the kind alone is kept: the rest has
// the URL, in which a look-up has its key, and what was answered. The URL as configured
// keeps neither a password nor options.
var (
	failedRequest = regexp.MustCompile(`(HTTP (?:parallel )?request to '.*?' failed: )((?:[^"\\]|\\.)*)`)
	ofPassword    = regexp.MustCompile(`(://[^/@:' ]*):[^/@' ]+@`)
	ofOptions     = regexp.MustCompile(`( to '[^'?]*\?)[^']*'`)
	kindOfFailure = regexp.MustCompile(`unexpected response code \(\d{3}\)|context (?:deadline exceeded|canceled)|` +
		`connection (?:refused|reset by peer)|no such host|no route to host|i/o timeout|EOF|x509: |tls: |` +
		`timed out waiting for next request`)
)

// withoutKeys returns the line without personal data and secrets of a request that failed.
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

// quieten copies lines, but for those that say nothing, and for what nobody may read. It
// calls flushed when all before a flushMark is written, or nothing more can be.
func quieten(to io.Writer, from io.Reader, idle *regexp.Regexp, flushed func()) {
	defer flushed()
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadBytes('\n')
		line, marked := bytes.CutSuffix(line, []byte(flushMark))
		if !idle.Match(line) {
			if _, werr := to.Write(withoutKeys(line)); werr != nil { // nobody listens; the log must not hold up the streams
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
