package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// wire is one kept-alive HTTP/1.1 connection that posts events. The generator shares the cores with what it measures,
// and net/http's client, with two goroutines and a timer a request, took nearly three times as much of them.
type wire struct {
	address string
	head    []byte // of every request, up to the value of Content-Length
	out     []byte
	conn    net.Conn // nil: the next request dials
	in      *bufio.Reader
}

// wireTimeout is how long an answer may take.
const wireTimeout = 30 * time.Second

// newWire returns a connection to /v1/events of a server. It dials with the first request.
func newWire(server, key string) (*wire, error) {
	u, err := url.Parse(server)
	if err != nil {
		return nil, err
	}
	head := "POST /v1/events HTTP/1.1\r\nHost: " + u.Host + "\r\nContent-Type: application/json\r\nX-API-Key: " + key +
		"\r\nContent-Length: "
	return &wire{address: u.Host, head: []byte(head)}, nil
}

// post sends a body and reports whether the answer is a status of 2xx.
func (w *wire) post(ctx context.Context, body []byte) (bool, error) {
	if w.conn == nil {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", w.address)
		if err != nil {
			return false, fmt.Errorf("posting events: %w", err)
		}
		w.conn, w.in = conn, bufio.NewReader(conn)
	}
	w.out = append(w.out[:0], w.head...)
	w.out = strconv.AppendInt(w.out, int64(len(body)), 10)
	w.out = append(w.out, "\r\n\r\n"...)
	w.out = append(w.out, body...)
	if err := w.conn.SetDeadline(time.Now().Add(wireTimeout)); err != nil {
		return false, fmt.Errorf("posting events: %w", err)
	}
	if _, err := w.conn.Write(w.out); err != nil {
		return false, fmt.Errorf("posting events: %w", err)
	}
	resp, err := http.ReadResponse(w.in, nil)
	if err != nil {
		return false, fmt.Errorf("reading an answer: %w", err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return false, fmt.Errorf("reading an answer: %w", err)
	}
	if resp.Close {
		w.close()
	}
	return resp.StatusCode/100 == 2, nil
}

func (w *wire) close() {
	if w.conn != nil {
		w.conn.Close()
		w.conn = nil
	}
}
