package cli

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"weir/internal/platform/kafka"

	"github.com/redpanda-data/benthos/v4/public/bloblang"
	"github.com/redpanda-data/benthos/v4/public/service"
	"gopkg.in/yaml.v3"
)

// RegisterTemplates adds the components of the built-in templates, with which streams read and write the log. They
// get the connection settings from kafka_connection(), which it adds to Bloblang.
func RegisterTemplates(env *service.Environment, assets fs.FS) error {
	if err := kafka.RegisterFunctions(bloblang.GlobalEnvironment()); err != nil {
		return fmt.Errorf("registering functions: %w", err)
	}
	paths, err := fs.Glob(assets, "configs/templates/*.yaml")
	if err != nil {
		return fmt.Errorf("finding templates: %w", err)
	}
	for _, path := range paths {
		raw, err := fs.ReadFile(assets, path)
		if err == nil {
			err = env.RegisterTemplateYAML(string(raw))
		}
		if err != nil {
			return fmt.Errorf("reading the template %s: %w", path, err)
		}
	}
	return nil
}

// useTemplates adds components of template files or replaces existing ones. A replaced component of weir's no longer
// counts as its own.
func (d *distribution) useTemplates(paths []string) error {
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err == nil {
			err = d.env.RegisterTemplateYAML(string(raw))
		}
		var template struct{ Name, Type string }
		if err == nil {
			err = yaml.Unmarshal(raw, &template)
		}
		if err != nil {
			return fmt.Errorf("reading the template %s: %w", path, err)
		}
		delete(d.own, template.Type+" "+template.Name)
	}
	return nil
}

// templatesBeside returns the templates near some configs: in ../templates or templates.
func templatesBeside(configs []string) (paths []string) {
	for _, config := range configs {
		dir := filepath.Dir(config)
		for _, folder := range []string{filepath.Join(dir, "..", "templates"), filepath.Join(dir, "templates"),
			filepath.Join(config, "..", "templates")} {
			entries, _ := os.ReadDir(folder) // usually there is none
			for _, entry := range entries {
				path := filepath.Join(folder, entry.Name())
				if filepath.Ext(path) == ".yaml" && !slices.Contains(paths, path) {
					paths = append(paths, path)
				}
			}
		}
	}
	return paths
}
