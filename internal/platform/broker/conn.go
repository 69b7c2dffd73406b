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

// The requests of which more than the head is read.
const (
	produceKey, fetchKey = int16(kmsg.Produce), int16(kmsg.Fetch)
	byTopicID            = 13       // the first version of Produce and Fetch that names topics by ID
	fetchMost            = 64 << 10 // the size of fetches that are looked at; kfake answers larger ones
	produceMost          = pieceBytes + 64<<10
)

// requestMost is the largest request, as in Kafka. kfake would allocate whatever size a request claims, and would end
// the process at an unknown request.
const requestMost = 100 << 20

// Before a client has logged in, only small requests are accepted: kfake decodes a request, into many times its size,
// before it checks the login.
const (
	loginMost  = 64 << 10
	loginSteps = 2 // the number of answers to SASLAuthenticate in SCRAM; kfake closes the connection after a wrong login
)

// underMost bounds the requests that wait for answers: kfake handles one and reads the next. More requests mean some
// without an answer, such as writes with acks=0.
const underMost = 4

var (
	errNoRequest = errors.New("reading a request: this is none")
	errNoLogin   = errors.New("reading a request: log in first")
)

// headBytes is the size of a request's head before the client's name: size, key, version and correlation id.
const headBytes = 12

// listener accepts connections, and makes a conn of each.
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

// conn is a client's connection between the client and kfake. Requests and answers pass unchanged and in order. It
// keeps the batches that kfake has acknowledged to producers in tails, and answers a fetch itself if the tails have
// all that it asks for. kfake does not see such a fetch.
//
// kfake decides who may read: a fetch is answered here only after kfake has answered one on the same connection, which
// it does only after the login.
type conn struct {
	net.Conn
	tails *tails

	// The fields below are used only by Read:
	in     *bufio.Reader
	ahead  []byte // the next bytes of the request that is passed on
	behind int    // how many of its bytes were not read yet
	frame  []byte // reused memory for fetches
	answer []byte // reused memory for answers

	mu      sync.Mutex
	under   []asked // requests that kfake has yet to answer
	strange bool    // the order of answers was unexpected: kfake answers everything from now on
	reads   bool    // kfake has answered a fetch: the client may read the log
	steps   int     // how many steps of the login kfake has answered
}

// asked is a request that was passed on to kfake.
type asked struct {
	number       int32
	key, version int16
	produce      []byte // the request after its head, if its batches may be kept
	fetch        *kmsg.FetchRequest
}

// Read returns the next bytes of the requests that kfake must answer.
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

// next reads the next request, and answers it if it can.
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

// mayAsk reports whether a request is allowed: before the login only those that the login needs.
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

// whole reads the rest of a request after its head.
func (c *conn) whole(frame []byte) ([]byte, error) {
	n := len(frame)
	frame = append(frame, make([]byte, c.behind)...)
	if _, err := io.ReadFull(c.in, frame[n:]); err != nil {
		return frame, err
	}
	c.ahead, c.behind = frame, 0
	return frame, nil
}

// body returns a request after its head, the client's name and the tags.
func body(rest []byte) []byte {
	if len(rest) < 2 {
		return nil
	}
	name := max(int(int16(binary.BigEndian.Uint16(rest))), 0)
	rest = rest[2:]
	if len(rest) < name+1 || rest[name] != 0 { // our clients send no tags
		return nil
	}
	return rest[name+1:]
}

// fetchOf decodes a fetch without a session, and returns nil for others.
func fetchOf(rest []byte, version int16) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version = version
	if err := req.ReadFrom(body(rest)); err != nil || req.SessionID != 0 || req.SessionEpoch != -1 {
		return nil
	}
	return req
}

// serve answers a fetch if the tails have records for it, and the log need not be read for any part of it.
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
	_, err = c.Conn.Write(c.answer) // no concurrent write: kfake has no request to answer
	return true, err
}

// found returns the answer to a fetch from the tails, or nil if the log must be read.
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
				f.batches = nil // the rest follows with the next fetch
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

// Write passes on a whole answer of kfake, after it has used its contents, so that they are known before the client
// has the answer.
func (c *conn) Write(p []byte) (int, error) {
	a, expected := c.first(p)
	if expected {
		switch {
		case a.key == int16(kmsg.SASLAuthenticate): // set before the client has the answer and sends its next request
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

// first returns the request that an answer belongs to.
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

// written keeps the batches that the log has acknowledged.
func (c *conn) written(a asked, p []byte) {
	req, answer := kmsg.NewPtrProduceRequest(), kmsg.NewPtrProduceResponse()
	req.Version, answer.Version = a.version, a.version
	if req.ReadFrom(body(a.produce)) != nil || len(p) < 9 || answer.ReadFrom(p[9:]) != nil {
		return
	}
	now := time.Now()
	for _, t := range answer.Topics {
		for _, one := range t.Partitions {
			if one.ErrorCode != 0 || one.LogStartOffset < 0 { // refused, or a duplicate that kfake had already
				continue
			}
			at := place{t.TopicID, one.Partition}
			if batch := batchOf(req, at); batch != nil {
				c.tails.add(at, one.BaseOffset, batch, now)
			}
		}
	}
}

// batchOf returns the batch that a request writes to a partition, nil if it writes two: the answer belongs to one of
// them.
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

// told learns from kfake's answer to a fetch which partitions are read, and which of them have no more records.
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
