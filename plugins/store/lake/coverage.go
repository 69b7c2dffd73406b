package lake

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"weir/internal/event"
)

// Partition is one partition of one topic of the log.
type Partition struct {
	Topic     string
	Partition int32
}

func (p Partition) String() string { return p.Topic + "/" + strconv.Itoa(int(p.Partition)) }

// PartitionOf returns the partition of some coordinates.
func PartitionOf(c event.Coordinates) Partition {
	return Partition{Topic: c.Topic, Partition: c.Partition}
}

func parsePartition(s string) (Partition, error) {
	i := strings.LastIndexByte(s, '/')
	if i <= 0 {
		return Partition{}, fmt.Errorf("expected topic/partition, got %q", s)
	}
	n, err := strconv.ParseInt(s[i+1:], 10, 32)
	if err != nil || n < 0 {
		return Partition{}, fmt.Errorf("expected topic/partition, got %q", s)
	}
	return Partition{Topic: s[:i], Partition: int32(n)}, nil
}

// Span is a range of offsets, both ends included.
type Span struct{ First, Last int64 }

// Duplicate is a record that is proven to repeat another.
type Duplicate struct {
	Offset int64
	Of     event.Coordinates // the canonical record
}

// Coverage says which records of the log an object accounts for. It is in the metadata of the
// object, so it is durable exactly when the object is.
type Coverage struct {
	Stored     map[Partition][]Span      // deliveries for which the object has rows
	Duplicates map[Partition][]Duplicate // records in the same batches that repeat others
	Origins    map[Partition][]Span      // dead letters: the records from which its rows came
	// records whose rows or dead letters were erased, or were not written because of an erasure
	Erased map[Partition][]Span
}

// Empty reports whether the coverage has no record.
func (c *Coverage) Empty() bool {
	return len(c.Stored) == 0 && len(c.Duplicates) == 0 && len(c.Origins) == 0 && len(c.Erased) == 0
}

// Merge adds the other coverage.
func (c *Coverage) Merge(other Coverage) {
	c.Stored = mergeSpans(c.Stored, other.Stored)
	c.Origins = mergeSpans(c.Origins, other.Origins)
	c.Erased = mergeSpans(c.Erased, other.Erased)
	for p, ds := range other.Duplicates {
		if c.Duplicates == nil {
			c.Duplicates = map[Partition][]Duplicate{}
		}
		c.Duplicates[p] = sortDuplicates(append(slices.Clone(c.Duplicates[p]), ds...))
	}
}

// settled returns the records that need not be stored any more.
func (c *Coverage) settled() map[Partition][]Span {
	if len(c.Duplicates) == 0 && len(c.Erased) == 0 {
		return c.Stored
	}
	repeats := make(map[Partition][]Span, len(c.Duplicates))
	for p, ds := range c.Duplicates {
		for _, d := range ds {
			repeats[p] = append(repeats[p], Span{First: d.Offset, Last: d.Offset})
		}
	}
	return mergeSpans(mergeSpans(repeats, c.Stored), c.Erased)
}

// lost returns the records that have rows in c but not in kept, as erased.
func (c *Coverage) lost(kept Coverage) Coverage {
	return Coverage{Erased: mergeSpans(minusSpans(c.Stored, kept.Stored), minusSpans(c.Origins, kept.Origins))}
}

func minusSpans(from, what map[Partition][]Span) (out map[Partition][]Span) {
	for p, spans := range from {
		if rest := NewOffsets(spans...).Minus(NewOffsets(what[p]...)); len(rest) > 0 {
			if out == nil {
				out = map[Partition][]Span{}
			}
			out[p] = rest
		}
	}
	return out
}

func mergeSpans(into, from map[Partition][]Span) map[Partition][]Span {
	for p, spans := range from {
		if into == nil {
			into = map[Partition][]Span{}
		}
		into[p] = normal(append(slices.Clone(into[p]), spans...))
	}
	return into
}

// normal sorts spans in place and joins those that overlap or touch.
func normal(spans []Span) []Span {
	slices.SortFunc(spans, func(a, b Span) int { return compare64(a.First, b.First) })
	out := spans[:0]
	for _, s := range spans {
		if n := len(out); n > 0 && s.First <= out[n-1].Last+1 {
			out[n-1].Last = max(out[n-1].Last, s.Last)
		} else {
			out = append(out, s)
		}
	}
	return out
}

func sortDuplicates(ds []Duplicate) []Duplicate {
	slices.SortStableFunc(ds, func(a, b Duplicate) int { return compare64(a.Offset, b.Offset) })
	return slices.CompactFunc(ds, func(a, b Duplicate) bool { return a.Offset == b.Offset })
}

func compare64(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// coverageVersion must be increased with every change of the format that older readers would
// misread.
const coverageVersion = 1

// coverageJSON is the stored format. Each "topic/partition" has a flat list of pairs. Those of
// spans are (gap since the end of the last span, length). Duplicates are listed by the partition
// of their canonical records, as (gap since the offset of the last duplicate, offset minus
// canonical offset).
type coverageJSON struct {
	Version    int                           `json:"v"`
	Stored     map[string][]int64            `json:"stored,omitempty"`
	Duplicates map[string]map[string][]int64 `json:"duplicates,omitempty"`
	Origins    map[string][]int64            `json:"origins,omitempty"`
	Erased     map[string][]int64            `json:"erased,omitempty"`
}

// encode returns the coverage as compact JSON.
func (c *Coverage) encode() string {
	out := coverageJSON{Version: coverageVersion, Stored: encodeSpans(c.Stored), Origins: encodeSpans(c.Origins),
		Erased: encodeSpans(c.Erased)}
	for p, ds := range c.Duplicates {
		by := map[string][]int64{}
		last := map[string]int64{}
		for _, d := range sortDuplicates(slices.Clone(ds)) {
			of := PartitionOf(d.Of).String()
			by[of] = append(by[of], d.Offset-last[of], d.Offset-d.Of.Offset)
			last[of] = d.Offset
		}
		if out.Duplicates == nil {
			out.Duplicates = map[string]map[string][]int64{}
		}
		out.Duplicates[p.String()] = by
	}
	raw, err := json.Marshal(out)
	if err != nil { // impossible: maps of strings and integers
		panic(err)
	}
	return string(raw)
}

func encodeSpans(spans map[Partition][]Span) map[string][]int64 {
	if len(spans) == 0 {
		return nil
	}
	out := make(map[string][]int64, len(spans))
	for p, list := range spans {
		pairs, end := make([]int64, 0, 2*len(list)), int64(0)
		for _, s := range normal(slices.Clone(list)) {
			pairs = append(pairs, s.First-end, s.Last+1-s.First)
			end = s.Last + 1
		}
		out[p.String()] = pairs
	}
	return out
}

// decodeCoverage decodes what encode returns.
func decodeCoverage(raw string) (c Coverage, err error) {
	var in coverageJSON
	if err := json.Unmarshal([]byte(raw), &in); err != nil {
		return c, fmt.Errorf("reading coverage: %w", err)
	}
	if in.Version != coverageVersion {
		return c, fmt.Errorf("reading coverage: version %d is not known here: read this store with the weir that wrote "+
			"it, or a newer one", in.Version)
	}
	if c.Stored, err = decodeSpans(in.Stored); err != nil {
		return c, fmt.Errorf("reading coverage: %w", err)
	}
	if c.Origins, err = decodeSpans(in.Origins); err != nil {
		return c, fmt.Errorf("reading coverage: %w", err)
	}
	if c.Erased, err = decodeSpans(in.Erased); err != nil {
		return c, fmt.Errorf("reading coverage: %w", err)
	}
	for key, by := range in.Duplicates {
		p, err := parsePartition(key)
		if err != nil {
			return c, fmt.Errorf("reading coverage: %w", err)
		}
		var ds []Duplicate
		for key, pairs := range by {
			of, err := parsePartition(key)
			if err != nil || len(pairs)%2 != 0 {
				return c, fmt.Errorf("reading coverage: duplicates of %s: malformed", key)
			}
			for i, offset := 0, int64(0); i < len(pairs); i += 2 {
				offset += pairs[i]
				ds = append(ds, Duplicate{Offset: offset, Of: event.Coordinates{
					Topic: of.Topic, Partition: of.Partition, Offset: offset - pairs[i+1]}})
			}
		}
		if c.Duplicates == nil {
			c.Duplicates = map[Partition][]Duplicate{}
		}
		c.Duplicates[p] = sortDuplicates(ds)
	}
	return c, nil
}

func decodeSpans(in map[string][]int64) (map[Partition][]Span, error) {
	if len(in) == 0 {
		return nil, nil
	}
	out := make(map[Partition][]Span, len(in))
	for key, pairs := range in {
		p, err := parsePartition(key)
		if err != nil || len(pairs)%2 != 0 {
			return nil, fmt.Errorf("spans of %s: malformed", key)
		}
		end := int64(0)
		for i := 0; i < len(pairs); i += 2 {
			first := end + pairs[i]
			end = first + pairs[i+1]
			out[p] = append(out[p], Span{First: first, Last: end - 1})
		}
	}
	return out, nil
}
