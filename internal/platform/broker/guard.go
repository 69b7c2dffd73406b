package broker

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// guard refuses writes while the disk is nearly full, with an error after which producers wait and retry. So the other
// stores can finish processing the records in the log, and the log its bookkeeping. kfake itself would fail in the
// middle of a write.
type guard struct {
	b      *Broker
	closed atomic.Bool // writes are refused
}

const guardInterval = 500 * time.Millisecond

func newGuard(b *Broker) *guard {
	g := &guard{b: b}
	g.look()
	b.cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if !g.closed.Load() {
			return nil, nil, false
		}
		b.cluster.KeepControl()
		return refuseProduce(req.(*kmsg.ProduceRequest)), nil, true
	})
	return g
}

func (g *guard) run(ctx context.Context) {
	tick := time.NewTicker(guardInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			g.look()
		}
	}
}

// look checks the disk. It accepts writes again only at a quarter above the mark, so that the state does not flap.
func (g *guard) look() {
	room, err := free(g.b.conf.Dir)
	if err != nil {
		g.b.conf.Logger.Error(err.Error())
		return
	}
	mark := g.b.conf.MinFree
	switch was := g.closed.Load(); {
	case !was && room < mark:
		g.closed.Store(true)
		g.b.conf.Logger.Error("embedded broker: the disk is nearly full; refusing writes until there is room", "free_bytes",
			room, "wanted_bytes", mark+mark/4)
	case was && room >= mark+mark/4:
		g.closed.Store(false)
		g.b.conf.Logger.Info("embedded broker: there is room on the disk again; taking writes", "free_bytes", room)
	}
}

func refuseProduce(req *kmsg.ProduceRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.ProduceResponse)
	for _, t := range req.Topics {
		rt := kmsg.NewProduceResponseTopic()
		rt.Topic, rt.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			rp := kmsg.NewProduceResponseTopicPartition()
			rp.Partition = p.Partition
			rp.ErrorCode = kerr.KafkaStorageError.Code
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}
