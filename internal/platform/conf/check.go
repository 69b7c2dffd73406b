package conf

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// errChecked ends the making of a component whose config is right, and was only
// to be checked.
var errChecked = errors.New("the config is right, and was only to be checked")

// ErrMade is of a constructor that made a component where its config was only to
// be checked: it does not call Checked.
var ErrMade = errors.New("its constructor does not call conf.Checked when it has read its config")

type onlyChecked struct{}

// Checked is what a constructor calls when it has read all of its config, with
// the error of reading it, and before it opens, starts or announces anything. It
// returns that error, or errChecked where a config is only checked, or nil.
func Checked(c *service.ParsedConfig, err error) error {
	if err == nil && checking(c) {
		return errChecked
	}
	return err
}

func checking(c *service.ParsedConfig) bool {
	if c == nil {
		return false // of a component without fields, made by a test
	}
	_, only := c.Resources().GetGeneric(onlyChecked{})
	return only
}

// Files is whether files that a config names are to be read: they may be those
// of another machine where it is only checked.
func Files(c *service.ParsedConfig) bool { return !checking(c) }

// Check lets the constructor of a component read a config, as YAML decodes it, and
// returns what it would say at the start of a stream. Every constructor of weir's
// components ends there: nothing is opened. Kind is input, output or processor.
func Check(env *service.Environment, kind, name string, config any) error {
	switch err := construct(env, kind, name, config, true); {
	case err == nil:
		return fmt.Errorf("checking %s: %w", name, ErrMade)
	case errors.Is(err, errChecked):
		return nil
	default:
		return err
	}
}

// construct makes a component as a stream does.
func construct(env *service.Environment, kind, name string, config any, only bool) error {
	const field = "it"
	var one *service.ConfigField
	var of func(*service.ParsedConfig) error
	switch kind {
	case "input":
		one = service.NewInputField(field)
		of = func(c *service.ParsedConfig) error { _, err := c.FieldInput(field); return err }
	case "output":
		one = service.NewOutputField(field)
		of = func(c *service.ParsedConfig) error { _, err := c.FieldOutput(field); return err }
	case "processor":
		one = service.NewProcessorField(field)
		of = func(c *service.ParsedConfig) error { _, err := c.FieldProcessor(field); return err }
	default:
		return fmt.Errorf("checking %s: weir has no %s of its own", name, kind)
	}
	raw, err := json.Marshal(map[string]any{field: map[string]any{name: config}})
	if err != nil {
		return fmt.Errorf("checking %s: %w", name, err)
	}
	parsed, err := service.NewConfigSpec().Field(one).ParseYAML(string(raw), env)
	if err != nil {
		return err
	}
	if only {
		parsed.Resources().SetGeneric(onlyChecked{}, true)
	}
	return of(parsed)
}
