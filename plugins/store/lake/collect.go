package lake

import "weir/internal/event"

// Collector collects coverage, record by record. Records mostly come in runs of one partition with
// rising offsets, which it appends without a search. It is not safe for concurrent use.
type Collector struct {
	stored, origins, erased spans
	duplicates              map[Partition][]Duplicate
}

type spans struct {
	by   map[Partition]*[]Span
	last Partition
	list *[]Span
}

func (s *spans) add(c event.Coordinates) {
	if p := PartitionOf(c); s.list == nil || p != s.last {
		if s.by == nil {
			s.by = map[Partition]*[]Span{}
		}
		if s.by[p] == nil {
			s.by[p] = new([]Span)
		}
		s.last, s.list = p, s.by[p]
	}
	if n := len(*s.list); n > 0 && (*s.list)[n-1].Last+1 == c.Offset {
		(*s.list)[n-1].Last = c.Offset
		return
	}
	*s.list = append(*s.list, Span{First: c.Offset, Last: c.Offset})
}

func (s *spans) coverage() map[Partition][]Span {
	if len(s.by) == 0 {
		return nil
	}
	out := make(map[Partition][]Span, len(s.by))
	for p, list := range s.by {
		out[p] = normal(*list)
	}
	return out
}

// Stored adds a delivery for which there is a row.
func (c *Collector) Stored(delivery event.Coordinates) { c.stored.add(delivery) }

// Origin adds the record from which a dead letter came.
func (c *Collector) Origin(record event.Coordinates) { c.origins.add(record) }

// Erased adds a delivery without a row, because its device or fleet was erased.
func (c *Collector) Erased(delivery event.Coordinates) { c.erased.add(delivery) }

// Duplicate adds a record that repeats a canonical one.
func (c *Collector) Duplicate(record, canonical event.Coordinates) {
	if c.duplicates == nil {
		c.duplicates = map[Partition][]Duplicate{}
	}
	p := PartitionOf(record)
	c.duplicates[p] = append(c.duplicates[p], Duplicate{Offset: record.Offset, Of: canonical})
}

// Coverage returns what was collected.
func (c *Collector) Coverage() Coverage {
	out := Coverage{Stored: c.stored.coverage(), Origins: c.origins.coverage(), Erased: c.erased.coverage()}
	for p, ds := range c.duplicates {
		if out.Duplicates == nil {
			out.Duplicates = map[Partition][]Duplicate{}
		}
		out.Duplicates[p] = sortDuplicates(ds)
	}
	return out
}
