package etl

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"time"

	"github.com/redpanda-data/benthos/v4/public/bloblang"
)

// structured returns a row as a mapping sees it. Decimals, times and UUIDs are texts, because the
// numbers of a mapping are floats.
func structured(columns []column, r row) (map[string]any, error) {
	all := make(map[string]any, len(columns))
	for i, c := range columns {
		if r[i].null {
			all[c.name] = nil
			continue
		}
		text := r[i].text
		switch c.of.kind {
		case kindBool:
			all[c.name] = text == "true"
		case kindInt16, kindInt32, kindInt64:
			v, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("column %q: %w", c.name, err)
			}
			all[c.name] = v
		case kindFloat32, kindFloat64:
			v, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return nil, fmt.Errorf("column %q: %w", c.name, err)
			}
			all[c.name] = v
		case kindBytes:
			all[c.name] = []byte(text)
		case kindJSON:
			var v any
			if err := json.Unmarshal([]byte(text), &v); err != nil {
				return nil, fmt.Errorf("column %q: %w", c.name, err)
			}
			all[c.name] = v
		default:
			all[c.name] = text
		}
	}
	return all, nil
}

func (s stepSpec) filter(columns []column) step {
	return func(r row) (row, bool, string) {
		seen, err := structured(columns, r)
		if err != nil {
			return r, false, err.Error()
		}
		v, err := s.mapping.Query(seen)
		keep, is := v.(bool)
		switch {
		case err != nil:
			return r, false, "the filter fails"
		case !is:
			return r, false, "the filter says neither true nor false"
		}
		return r, !keep, ""
	}
}

// derive sets a column, new or not, to the result of a mapping, as a value of the step's type. So
// it also converts columns to other types.
func (s stepSpec) derive(columns []column) (step, []column, error) {
	if s.mapping == nil {
		return nil, nil, errors.New("it has no mapping")
	}
	next := slices.Clone(columns)
	at := indexOf(columns, s.column)
	if at < 0 {
		at = len(next)
		next = append(next, column{})
	}
	next[at] = column{s.column, s.of}
	return func(r row) (row, bool, string) {
		seen, err := structured(columns, r)
		if err != nil {
			return r, false, err.Error()
		}
		v, err := s.mapping.Query(seen)
		if errors.Is(err, bloblang.ErrRootDeleted) {
			err = errors.New("the mapping deletes")
		}
		if err != nil { // its text may quote values
			return r, false, fmt.Sprintf("column %q: the mapping fails", s.column)
		}
		c, err := s.of.of(v)
		if err != nil {
			return r, false, fmt.Sprintf("column %q: %v", s.column, err)
		}
		out := make(row, len(next))
		copy(out, r)
		out[at] = c
		return out, false, ""
	}, next, nil
}

// of converts the result of a mapping to a value of the type.
func (t columnType) of(v any) (c cell, err error) {
	if v == nil {
		return cell{null: true}, nil
	}
	if t.kind == kindJSON {
		raw, err := json.Marshal(v)
		return cell{text: string(raw)}, err
	}
	switch v := v.(type) {
	case string:
		c.text, err = t.canonical(v)
		return c, err
	case []byte:
		c.text, err = t.canonical(string(v))
		return c, err
	case time.Time:
		c.text, err = t.canonical(v.UTC().Format(formTimestamp) + "Z")
		return c, err
	case bool:
		if t.kind == kindBool {
			return cell{text: strconv.FormatBool(v)}, nil
		}
	case int64:
		c.text, err = t.number(strconv.FormatInt(v, 10))
		return c, err
	case float64: // its value is its shortest text
		form := byte('f')
		if t.kind == kindFloat32 || t.kind == kindFloat64 {
			form = 'g'
		}
		c.text, err = t.number(strconv.FormatFloat(v, form, -1, 64))
		return c, err
	case json.Number:
		c.text, err = t.number(v.String())
		return c, err
	}
	return c, fmt.Errorf("a %T is no %s", v, t)
}

func (t columnType) number(text string) (string, error) {
	switch t.kind {
	case kindBool, kindBytes, kindDate, kindTimestamp, kindTimestampTZ, kindUUID:
		return "", fmt.Errorf("a number is no %s", t)
	}
	return t.canonical(text)
}

func (s stepSpec) validate(i int, c column) (step, error) {
	switch c.of.kind {
	case kindInt16, kindInt32, kindInt64, kindFloat32, kindFloat64, kindDecimal:
		if s.pattern != nil || s.oneOf != nil {
			return nil, fmt.Errorf("column %q is %s: a pattern is for texts, and so is one_of", c.name, c.of)
		}
	case kindText, kindUUID, kindDate, kindTimestamp, kindTimestampTZ:
		if s.min != nil || s.max != nil {
			return nil, fmt.Errorf("column %q is %s: min and max are for numbers", c.name, c.of)
		}
	default:
		if s.min != nil || s.max != nil || s.pattern != nil || s.oneOf != nil {
			return nil, fmt.Errorf("column %q is %s: only not_null is for it", c.name, c.of)
		}
	}
	ranged := s.min != nil || s.max != nil
	return func(r row) (row, bool, string) {
		switch v := r[i]; {
		case v.null:
			if s.notNull {
				return r, false, fmt.Sprintf("column %q is null", c.name)
			}
		case ranged && !s.within(v.text):
			return r, false, fmt.Sprintf("column %q is out of its range", c.name)
		case s.pattern != nil && !s.pattern.MatchString(v.text):
			return r, false, fmt.Sprintf("column %q does not match its pattern", c.name)
		case s.oneOf != nil && !slices.Contains(s.oneOf, v.text):
			return r, false, fmt.Sprintf("column %q is none of its values", c.name)
		}
		return r, false, ""
	}, nil
}

// within compares exactly. NaN and infinities are outside.
func (s stepSpec) within(text string) bool {
	v, ok := new(big.Rat).SetString(text)
	return ok && (s.min == nil || v.Cmp(s.min) >= 0) && (s.max == nil || v.Cmp(s.max) <= 0)
}
