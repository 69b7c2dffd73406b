package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
)

// Bytes returns the size of the topics on the disks of all brokers, each replica counted. Missing topics count as 0.
// It needs the right to describe the cluster.
func (p Positions) Bytes(ctx context.Context, topics ...string) (n int64, err error) {
	there, err := p.Admin.ListTopics(ctx, topics...)
	if err != nil {
		return 0, fmt.Errorf("asking how large topics are: %w", err)
	}
	set := kadm.TopicsSet{}
	for _, t := range there {
		for number := range t.Partitions {
			set.Add(t.Topic, number)
		}
	}
	if len(set) == 0 { // an empty set would mean all
		return 0, nil
	}
	dirs, err := p.Admin.DescribeAllLogDirs(ctx, set)
	dirs.Each(func(d kadm.DescribedLogDir) {
		if d.Err != nil && err == nil {
			err = fmt.Errorf("broker %d: %w", d.Broker, d.Err)
		}
		n += d.Size()
	})
	if err != nil {
		return 0, fmt.Errorf("asking how large topics are: %w", err)
	}
	return n, nil
}
