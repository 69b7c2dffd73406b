// Package conf reads the config fields of all components.
package conf

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"weir/internal/platform/secret"
	"weir/internal/platform/storeurl"

	"github.com/dustin/go-humanize"
	"github.com/redpanda-data/benthos/v4/public/service"
)

// Read reads fields into variables given as pairs of a name and a pointer, as in
//
//	conf.Read(parsed, "url", &o.url, "timeout", conf.Positive(&o.timeout), "sasl.user", &o.user)
//
// A dot in a name selects a field of an object. The pointer's type determines how a field is read: string, bool, int,
// int64, float64, time.Duration, []string, map[string]string, an interpolated string (or a map of them), a batch
// policy, or, for fields that may be omitted, *string, *int, *float64 and *time.Duration. Read returns all errors,
// each with its field's name.
func Read(c *service.ParsedConfig, fields ...any) error {
	if len(fields)%2 != 0 {
		return fmt.Errorf("reading a config: %d names and variables do not pair", len(fields))
	}
	var wrong []error
	for i := 0; i < len(fields); i += 2 {
		name, ok := fields[i].(string)
		if !ok {
			return fmt.Errorf("reading a config: %v is no field's name", fields[i])
		}
		if err := bounded(c, strings.Split(name, "."), fields[i+1]); err != nil {
			wrong = append(wrong, fmt.Errorf("reading field %s: %w", name, err))
		}
	}
	return errors.Join(wrong...)
}

// bound is a variable and the values it may have.
type bound struct {
	to    any // *int, *int64, *float64 or *time.Duration
	allow func(float64) bool
	want  string
}

// Positive requires a number or duration above zero.
func Positive(to any) any {
	return bound{to, func(v float64) bool { return v > 0 }, "expected more than zero"}
}

// NotNegative requires a number or duration of zero or more.
func NotNegative(to any) any {
	return bound{to, func(v float64) bool { return v >= 0 }, "expected zero or more"}
}

// Between requires a number from least to most, inclusive.
func Between(to any, least, most float64) any {
	return bound{to, func(v float64) bool {
		return v >= least && v <= most
	}, fmt.Sprintf("expected %g to %g", least, most)}
}

// size is a number of bytes written as "8MiB".
type size struct {
	to          *int
	least, most uint64
}

// Size reads a string field such as "8MiB" as a number of bytes from least to most, inclusive.
func Size(to *int, least, most uint64) any { return size{to, least, most} }

func (s size) read(c *service.ParsedConfig, path []string) error {
	text, err := c.FieldString(path...)
	if err != nil {
		return err
	}
	n, err := humanize.ParseBytes(text)
	switch {
	case err != nil:
		return fmt.Errorf("%q is no size: expected a number with a unit, such as 8MiB", text)
	case n < s.least || n > s.most:
		return fmt.Errorf("expected %s to %s", humanize.IBytes(s.least), humanize.IBytes(s.most))
	}
	*s.to = int(n)
	return nil
}

// place is the URL of a store.
type place struct {
	to       *string
	optional bool
	schemes  []string
}

// Secret reads a string field that is a secret or a reference to one, as secret.Value resolves it.
func Secret(to *string) any {
	return Valid(to, func() error { return secret.Check(*to) })
}

// URL reads a string field that names a store by a URL with one of these schemes. Without this check, a wrong URL
// would be retried forever like a store that is down.
func URL(to *string, schemes ...string) any { return place{to, false, schemes} }

// MaybeURL is URL for a field that may be empty, meaning no store.
func MaybeURL(to *string, schemes ...string) any { return place{to, true, schemes} }

// valid is a field with a further check of its value.
type valid struct {
	field any
	right func() error
}

// Valid reads a field and then calls right to check the value.
func Valid(field any, right func() error) any { return valid{field, right} }

// read reads the URL. Its errors do not contain the value, which may hold a password.
func (p place) read(c *service.ParsedConfig, path []string) error {
	text, err := c.FieldString(path...)
	if err != nil {
		return err
	}
	scheme, _, is := strings.Cut(text, "://")
	if !(text == "" && p.optional || is && slices.Contains(p.schemes, scheme)) {
		return fmt.Errorf("expected a URL that begins with %s://", strings.Join(p.schemes, "://, "))
	}
	if slices.Contains([]string{"file", "sqlite", "pebble"}, scheme) {
		if _, err := storeurl.Path(text); err != nil {
			return err
		}
	} else if _, _, err := secret.Password(text); err != nil {
		return err
	}
	*p.to = text
	return nil
}

func bounded(c *service.ParsedConfig, path []string, to any) error {
	switch to := to.(type) {
	case size:
		return to.read(c, path)
	case place:
		return to.read(c, path)
	case valid:
		if err := bounded(c, path, to.field); err != nil {
			return err
		}
		return to.right()
	}
	b, ok := to.(bound)
	if !ok {
		return read(c, path, to)
	}
	if err := read(c, path, b.to); err != nil {
		return err
	}
	var v float64
	switch to := b.to.(type) {
	case *int:
		v = float64(*to)
	case *int64:
		v = float64(*to)
	case *float64:
		v = *to
	case *time.Duration:
		v = to.Seconds()
	default:
		return fmt.Errorf("no bounds for a %T", to)
	}
	if !b.allow(v) {
		return errors.New(b.want)
	}
	return nil
}

func read(c *service.ParsedConfig, path []string, to any) (err error) {
	switch to := to.(type) {
	case *string:
		*to, err = c.FieldString(path...)
	case *bool:
		*to, err = c.FieldBool(path...)
	case *int:
		*to, err = c.FieldInt(path...)
	case *int64:
		var n int
		n, err = c.FieldInt(path...)
		*to = int64(n)
	case *float64:
		*to, err = c.FieldFloat(path...)
	case *time.Duration:
		*to, err = c.FieldDuration(path...)
	case *[]string:
		*to, err = c.FieldStringList(path...)
	case *map[string]string:
		*to, err = c.FieldStringMap(path...)
	case **service.InterpolatedString:
		*to, err = c.FieldInterpolatedString(path...)
	case *map[string]*service.InterpolatedString:
		*to, err = c.FieldInterpolatedStringMap(path...)
	case *service.BatchPolicy:
		*to, err = batching(c, path)
	default:
		return optional(c, path, to)
	}
	return err
}

// batching reads a batch policy and rejects negative numbers, which the engine would treat as unset.
func batching(c *service.ParsedConfig, path []string) (policy service.BatchPolicy, err error) {
	if policy, err = c.FieldBatchPolicy(path...); err != nil {
		return policy, err
	}
	switch period, err := time.ParseDuration(policy.Period); {
	case policy.Count < 0:
		return policy, errors.New("count: expected zero or more")
	case policy.ByteSize < 0:
		return policy, errors.New("byte_size: expected zero or more")
	case policy.Period != "" && err != nil:
		return policy, errors.New("period: expected a time such as 90s, 5m or 2h")
	case period < 0:
		return policy, errors.New("period: expected zero or more")
	}
	return policy, nil
}

// optional leaves the variable nil when the field is omitted.
func optional(c *service.ParsedConfig, path []string, to any) error {
	there := c.Contains(path...)
	switch to := to.(type) {
	case **string:
		return set(to, there, path, c.FieldString)
	case **int:
		return set(to, there, path, c.FieldInt)
	case **float64:
		return set(to, there, path, c.FieldFloat)
	case **time.Duration:
		return set(to, there, path, c.FieldDuration)
	}
	return fmt.Errorf("no way to read a %T", to)
}

func set[T any](to **T, there bool, path []string, field func(...string) (T, error)) error {
	if !there {
		return nil
	}
	v, err := field(path...)
	if err == nil {
		*to = &v
	}
	return err
}
