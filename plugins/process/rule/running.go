package rule

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
)

// Since says which version of the rules a partition uses, and from which offset on.
type Since struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Version   string `json:"version"`
	Offset    int64  `json:"offset"`

	Canary string   `json:"canary,omitempty"` // the version that it uses for Fleets
	Fleets []string `json:"fleets,omitempty"` // names or patterns
}

// Group is a group of fleets for which the same version is active.
type Group struct {
	Fleets  []string  `json:"fleets"`  // names or patterns; none: all others
	Number  int64     `json:"number"`  // of the active version; 0 is the file
	Version string    `json:"version"` // "" for the file, which may differ between processes
	Running []Running `json:"running"` // what the partitions use for them, the most partitions first
	// Behind is the number of partitions that do not use the active version for them yet.
	Behind int `json:"behind"`
}

// Running is a version that partitions use for a group of fleets.
type Running struct {
	Version    string `json:"version"`
	Partitions int    `json:"partitions"`
}

// Groups compares the active versions with those that partitions use. The fleets of a canary come first, all other
// fleets last.
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

// Partitions returns which version each partition uses. A partition takes a new version up with its next batch, or
// soon when it is idle; until then it has the version before.
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
