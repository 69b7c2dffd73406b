// Package conf reads the fields of a component's config, in one way for all.
package conf

import (
	"fmt"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// Read reads fields into variables: names and pointers in turn, as in
//
//	conf.Read(parsed, "url", &o.url, "timeout", &o.timeout)
//
// The type of a pointer says how a field is read: string, bool, int, int64,
// float64, time.Duration, []string, map[string]string, an interpolated string
// (or a map of them), or a pointer to one of string, int, float64 and
// time.Duration for a field that may be left out. It returns the first error,
// which names the field.
func Read(c *service.ParsedConfig, fields ...any) error {
	if len(fields)%2 != 0 {
		return fmt.Errorf("reading a config: %d names and variables do not pair", len(fields))
	}
	for i := 0; i < len(fields); i += 2 {
		name, ok := fields[i].(string)
		if !ok {
			return fmt.Errorf("reading a config: %v is no field's name", fields[i])
		}
		if err := read(c, name, fields[i+1]); err != nil {
			return fmt.Errorf("reading field %s: %w", name, err)
		}
	}
	return nil
}

func read(c *service.ParsedConfig, name string, to any) (err error) {
	switch to := to.(type) {
	case *string:
		*to, err = c.FieldString(name)
	case *bool:
		*to, err = c.FieldBool(name)
	case *int:
		*to, err = c.FieldInt(name)
	case *int64:
		var n int
		n, err = c.FieldInt(name)
		*to = int64(n)
	case *float64:
		*to, err = c.FieldFloat(name)
	case *time.Duration:
		*to, err = c.FieldDuration(name)
	case *[]string:
		*to, err = c.FieldStringList(name)
	case *map[string]string:
		*to, err = c.FieldStringMap(name)
	case **service.InterpolatedString:
		*to, err = c.FieldInterpolatedString(name)
	case *map[string]*service.InterpolatedString:
		*to, err = c.FieldInterpolatedStringMap(name)
	default:
		return optional(c, name, to)
	}
	return err
}

// optional leaves the variable nil where the field is left out.
func optional(c *service.ParsedConfig, name string, to any) error {
	there := c.Contains(name)
	switch to := to.(type) {
	case **string:
		return set(to, there, name, c.FieldString)
	case **int:
		return set(to, there, name, c.FieldInt)
	case **float64:
		return set(to, there, name, c.FieldFloat)
	case **time.Duration:
		return set(to, there, name, c.FieldDuration)
	}
	return fmt.Errorf("no way to read a %T", to)
}

func set[T any](to **T, there bool, name string, field func(...string) (T, error)) error {
	if !there {
		return nil
	}
	v, err := field(name)
	if err == nil {
		*to = &v
	}
	return err
}
