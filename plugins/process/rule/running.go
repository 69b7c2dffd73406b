package rule

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
)

// Since says which rules a partition counts by, and from which offset on.
type Since struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Version   string `json:"version"`
	Offset    int64  `json:"offset"`

	Canary string   `json:"canary,omitempty"` // the version by which it counts these
	Fleets []string `json:"fleets,omitempty"`
}

// Group is fleets that are to have one version.
type Group struct {
	Fleets  []string  `json:"fleets"`  // names or patterns; none: all others
	Number  int64     `json:"number"`  // of the version that they are to have; 0 is the file
	Version string    `json:"version"` // "" of the file: it is each process's own
	Running []Running `json:"running"` // what they have, the most partitions first
	// Behind is how many partitions count them by another version than they are to
	// have.
	Behind int `json:"behind"`
}

// Running is a version by which partitions count some fleets.
type Running struct {
	Version    string `json:"version"`
	Partitions int    `json:"partitions"`
}

// Groups says which version which fleets are to have and have, those of a canary
// first.
func Groups(a Activation, partitions []Since) []Group {
	groups := []Group{{Fleets: []string{}, Number: a.Number, Version: a.Version}}
	if a.Canary > 0 {
		groups = slices.Insert(groups, 0, Group{Fleets: a.Fleets, Number: a.Canary, Version: a.CanaryVersion})
	}
	for i := range groups {
		g := &groups[i]
		by := map[string]int{}
		for _, p := range partitions {
			running := p.Version
			if len(g.Fleets) > 0 && p.Canary != "" && slices.Equal(p.Fleets, g.Fleets) {
				running = p.Canary
			}
			by[running]++
			if running != g.Version && g.Number > 0 || !slices.Equal(p.Fleets, a.Fleets) {
				g.Behind++
			}
		}
		g.Running = []Running{}
		for version, n := range by {
			g.Running = append(g.Running, Running{version, n})
		}
		slices.SortFunc(g.Running, func(a, b Running) int {
			return cmp.Or(cmp.Compare(b.Partitions, a.Partitions), cmp.Compare(a.Version, b.Version))
		})
	}
	return groups
}

// Partitions says what each partition counts by. One that had no record since
// the rules changed, and nothing to tell, still has those before.
func (v *Versions) Partitions(ctx context.Context) ([]Since, error) {
	rows, err := v.db.QueryContext(ctx, `SELECT s.topic, s.part, s.version, s.first FROM rule_switch s
		JOIN rule_position p ON p.topic = s.topic AND p.part = s.part AND p.log = s.log AND p.rules <> ''
		WHERE s.first = (SELECT max(first) FROM rule_switch n WHERE n.topic = s.topic AND n.part = s.part AND n.log = s.log)
		ORDER BY s.topic, s.part`)
	if err != nil {
		return nil, fmt.Errorf("reading what partitions count by: %w", err)
	}
	list := []Since{}
	for rows.Next() {
		var s Since
		var by string
		if err = rows.Scan(&s.Topic, &s.Partition, &by, &s.Offset); err != nil {
			break
		}
		s.Version, s.Canary, s.Fleets = named(by)
		list = append(list, s)
	}
	if err = errors.Join(err, rows.Err(), rows.Close()); err != nil {
		return nil, fmt.Errorf("reading what partitions count by: %w", err)
	}
	return list, nil
}
