package conf

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// errChecked stops the construction of a component whose config is valid and was only to be checked.
var errChecked = errors.New("the config is right, and was only to be checked")

// ErrMade says that a constructor created a component although its config was only to be checked: it does not call
// Checked.
var ErrMade = errors.New("its constructor does not call conf.Checked when it has read its config")

type onlyChecked struct{}

// Checked must be called by constructors when they have read all of their config, with the error of reading it, and
// before they open, start or announce anything. It returns that error, or errChecked when the config is only checked,
// or nil.
func Checked(c *service.ParsedConfig, err error) error {
	if err == nil && checking(c) {
		return errChecked
	}
	return err
}

func checking(c *service.ParsedConfig) bool {
	if c == nil {
		return false // a component without fields, created by a test
	}
	_, only := c.Resources().GetGeneric(onlyChecked{})
	return only
}

// Files tells whether to read the files that a config names: false when the config is only checked, since its files
// may be on another machine.
func Files(c *service.ParsedConfig) bool { return !checking(c) }

// Check validates a config (decoded YAML) with the component's constructor and returns the error that starting a
// stream would give. Nothing is opened, because all of weir's constructors call Checked. kind is input, output or
// processor.
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

// construct creates a component the way a stream does.
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
