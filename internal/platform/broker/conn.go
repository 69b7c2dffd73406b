package broker

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Requests of which more than their head is looked at.
const (
	produceKey, fetchKey = int16(kmsg.Produce), int16(kmsg.Fetch)
	byTopicID            = 13       // the first version of both that names topics by ID
	fetchMost            = 64 << 10 // bytes of a question; larger ones are kfake's alone
	produceMost          = pieceBytes + 64<<10
)

// requestMost is what a request may have, as of Kafka. kfake would make room for
// whatever a size says, and end the process at a request that it does not know.
const requestMost = 100 << 20

// Before it has logged in a client asks for little: kfake reads a request, into many
// times its bytes, before it looks who asks.
const (
	loginMost  = 64 << 10
	loginSteps = 2 // answers to SASLAuthenticate that SCRAM takes; kfake hangs up on a wrong one
)

// underMost is how many requests wait for answers at most: kfake takes one, and reads
// the next. More have none, as writes do not whose producer wants to hear nothing.
const underMost = 4

var (
	errNoRequest = errors.New("reading a request: this is none")
	errNoLogin   = errors.New("reading a request: log in first")
)

// headBytes are those of a request before the client's name: its size, what it asks
// for, in which version, and by which number it is answered.
const headBytes = 12

// listener accepts connections that answer fetches from the tails.
type listener struct {
	net.Listener
	tails *tails
}

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, tails: l.tails, in: bufio.NewReader(c)}, nil
}

// conn is a client's connection as kfake reads and writes it. Requests and answers
// pass unchanged, in their order; it keeps what producers were told is written, and
// answers a fetch itself where all that it asks for is at hand. Such a fetch kfake
// never sees.
//
// kfake decides who may read: a connection is answered only after kfake has answered
// a fetch on it, which it does once the client has logged in.
type conn struct {
	net.Conn
	tails *tails

	// Of who reads:
	in     *bufio.Reader
	ahead  []byte // of the request that is being handed on
	behind int    // bytes of it that follow, and were not read yet
	frame  []byte // memory for fetches
	answer []byte // memory for answers

	mu      sync.Mutex
	under   []asked // requests that kfake has not answered
	strange bool    // answers did not come as expected: all is left to kfake
	reads   bool    // it may read the log
	steps   int     // of the login, that kfake has answered
}

// asked is a request that was handed on.
type asked struct {
	number       int32
	key, version int16
	produce      []byte // the request behind its head, if it is to be known
	fetch        *kmsg.FetchRequest
}

// Read hands on the next bytes of requests that are kfake's to answer.
func (c *conn) Read(p []byte) (int, error) {
	for len(c.ahead) == 0 && c.behind == 0 {
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	if len(c.ahead) > 0 {
		n := copy(p, c.ahead)
		c.ahead = c.ahead[n:]
		return n, nil
	}
	n, err := c.in.Read(p[:min(len(p), c.behind)])
	c.behind -= n
	return n, err
}

// next takes the next request, and answers it if it can.
func (c *conn) next() error {
	head := make([]byte, headBytes)
	if _, err := io.ReadFull(c.in, head); err != nil {
		return err
	}
	size := int(binary.BigEndian.Uint32(head))
	a := asked{number: int32(binary.BigEndian.Uint32(head[8:])), key: int16(binary.BigEndian.Uint16(head[4:])),
		version: int16(binary.BigEndian.Uint16(head[6:]))}
	if size < headBytes-4 || size > requestMost || kmsg.RequestForKey(a.key) == nil {
		return errNoRequest
	}
	if !c.mayAsk(a.key, size) {
		return errNoLogin
	}
	c.ahead, c.behind = head, size-(headBytes-4)
	known := a.version >= byTopicID
	switch {
	case a.key == fetchKey && known && size <= fetchMost:
		c.frame = append(c.frame[:0], head...)
		frame, err := c.whole(c.frame)
		if c.frame = frame; err != nil {
			return err
		}
		if a.fetch = fetchOf(c.frame[headBytes:], a.version); a.fetch != nil {
			if done, err := c.serve(a); done || err != nil {
				c.ahead = nil
				return err
			}
		}
	case a.key == produceKey && known && size <= produceMost && c.tails.any():
		frame, err := c.whole(append(make([]byte, 0, size+4), head...))
		if err != nil {
			return err
		}
		a.produce = frame[headBytes:]
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.under = append(c.under, a); c.strange || len(c.under) > underMost {
		c.strange, c.under = true, nil
	}
	return nil
}

// mayAsk tells whether a client may ask for something already: before it has logged in
// only for what that takes.
func (c *conn) mayAsk(key int16, size int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.steps >= loginSteps {
		return true
	}
	switch kmsg.Key(key) {
	case kmsg.ApiVersions, kmsg.SASLHandshake, kmsg.SASLAuthenticate:
		return size <= loginMost
	}
	return false
}

// whole reads the rest of a request behind its head.
func (c *conn) whole(frame []byte) ([]byte, error) {
	n := len(frame)
	frame = append(frame, make([]byte, c.behind)...)
	if _, err := io.ReadFull(c.in, frame[n:]); err != nil {
		return frame, err
	}
	c.ahead, c.behind = frame, 0
	return frame, nil
}

// body is a request behind its head without the client's name, and the tags that
// follow it.
func body(rest []byte) []byte {
	if len(rest) < 2 {
		return nil
	}
	name := max(int(int16(binary.BigEndian.Uint16(rest))), 0)
	rest = rest[2:]
	if len(rest) < name+1 || rest[name] != 0 { // no client of ours has tags
		return nil
	}
	return rest[name+1:]
}

// fetchOf reads a fetch of a client that keeps no session, nil for another.
func fetchOf(rest []byte, version int16) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version = version
	if err := req.ReadFrom(body(rest)); err != nil || req.SessionID != 0 || req.SessionEpoch != -1 {
		return nil
	}
	return req
}

// serve answers a fetch if there is something for it, and nothing of it is to be
// asked of the log.
func (c *conn) serve(a asked) (done bool, err error) {
	c.mu.Lock()
	able := c.reads && !c.strange && len(c.under) == 0
	c.mu.Unlock()
	if !able {
		return false, nil
	}
	answer := c.found(a.fetch, time.Now())
	if answer == nil {
		return false, nil
	}
	answer.Version = a.version
	c.answer = append(c.answer[:0], 0, 0, 0, 0)
	c.answer = binary.BigEndian.AppendUint32(c.answer, uint32(a.number))
	c.answer = append(c.answer, 0) // no tags
	c.answer = answer.AppendTo(c.answer)
	binary.BigEndian.PutUint32(c.answer, uint32(len(c.answer)-4))
	_, err = c.Conn.Write(c.answer) // nobody else writes: kfake has nothing to answer
	return true, err
}

// found is what the tails have for a fetch, nil when it is to be asked of the log.
func (c *conn) found(req *kmsg.FetchRequest, now time.Time) *kmsg.FetchResponse {
	answer := kmsg.NewPtrFetchResponse()
	bytes := 0
	for _, t := range req.Topics {
		topic := kmsg.NewFetchResponseTopic()
		topic.TopicID = t.TopicID
		for _, p := range t.Partitions {
			f, ok := c.tails.read(place{t.TopicID, p.Partition}, p.FetchOffset, int(p.PartitionMaxBytes), now)
			if !ok || p.CurrentLeaderEpoch >= 0 && p.CurrentLeaderEpoch != f.epoch {
				return nil
			}
			if bytes > 0 && bytes+len(f.batches) > int(req.MaxBytes) {
				f.batches = nil // next time
			}
			bytes += len(f.batches)
			one := kmsg.NewFetchResponseTopicPartition()
			one.Partition, one.HighWatermark, one.LastStableOffset, one.LogStartOffset = p.Partition, f.end, f.end, f.logStart
			if one.RecordBatches = f.batches; one.RecordBatches == nil {
				one.RecordBatches = []byte{}
			}
			topic.Partitions = append(topic.Partitions, one)
		}
		answer.Topics = append(answer.Topics, topic)
	}
	if bytes == 0 || bytes < int(req.MinBytes) {
		return nil
	}
	return answer
}

// Write hands on an answer of kfake's, whole. What it says is known before the client
// has it.
func (c *conn) Write(p []byte) (int, error) {
	a, expected := c.first(p)
	if expected {
		switch {
		case a.key == int16(kmsg.SASLAuthenticate): // before the client has the answer, and asks on
			c.mu.Lock()
			c.steps++
			c.mu.Unlock()
		case a.produce != nil:
			c.written(a, p)
		case a.fetch != nil:
			c.told(a, p)
		}
	}
	n, err := c.Conn.Write(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	if expected && len(c.under) > 0 {
		c.under[0] = asked{}
		c.under = c.under[1:]
		c.reads = c.reads || a.key == fetchKey
	}
	return n, err
}

// first is the request that an answer is to.
func (c *conn) first(p []byte) (asked, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.strange || len(p) < 8 || int(binary.BigEndian.Uint32(p)) != len(p)-4 || len(c.under) == 0 ||
		c.under[0].number != int32(binary.BigEndian.Uint32(p[4:])) {
		c.strange, c.under = true, nil
		return asked{}, false
	}
	return c.under[0], true
}

// written keeps what the log has acknowledged.
func (c *conn) written(a asked, p []byte) {
	req, answer := kmsg.NewPtrProduceRequest(), kmsg.NewPtrProduceResponse()
	req.Version, answer.Version = a.version, a.version
	if req.ReadFrom(body(a.produce)) != nil || len(p) < 9 || answer.ReadFrom(p[9:]) != nil {
		return
	}
	now := time.Now()
	for _, t := range answer.Topics {
		for _, one := range t.Partitions {
			if one.ErrorCode != 0 || one.LogStartOffset < 0 { // refused, or kfake says that it had it before
				continue
			}
			at := place{t.TopicID, one.Partition}
			if batch := batchOf(req, at); batch != nil {
				c.tails.add(at, one.BaseOffset, batch, now)
			}
		}
	}
}

// batchOf is what a request writes to a partition, nil if it does so twice: the answer is
// to one of them.
func batchOf(req *kmsg.ProduceRequest, at place) (batch []byte) {
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			switch {
			case t.TopicID != at.topic || p.Partition != at.partition:
			case batch != nil:
				return nil
			default:
				batch = p.Records
			}
		}
	}
	return batch
}

// told learns from the log's answer to a fetch which partitions are read, and of
// which there is nothing more.
func (c *conn) told(a asked, p []byte) {
	answer := kmsg.NewPtrFetchResponse()
	answer.Version = a.version
	if len(p) < 9 || answer.ReadFrom(p[9:]) != nil || answer.ErrorCode != 0 {
		return
	}
	now := time.Now()
	for _, t := range a.fetch.Topics {
		for _, asks := range t.Partitions {
			at := place{t.TopicID, asks.Partition}
			one := partitionOf(answer, at)
			if one == nil || one.ErrorCode != 0 || asks.CurrentLeaderEpoch < 0 {
				continue
			}
			end := int64(-1)
			if len(one.RecordBatches) == 0 && one.HighWatermark == asks.FetchOffset {
				end = one.HighWatermark
			}
			c.tails.watch(at, asks.CurrentLeaderEpoch, one.LogStartOffset, end, now)
		}
	}
}

func partitionOf(answer *kmsg.FetchResponse, at place) *kmsg.FetchResponseTopicPartition {
	for i := range answer.Topics {
		for j := range answer.Topics[i].Partitions {
			if p := &answer.Topics[i].Partitions[j]; answer.Topics[i].TopicID == at.topic && p.Partition == at.partition {
				return p
			}
		}
	}
	return nil
}
