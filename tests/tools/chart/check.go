package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/yannh/kubeconform/pkg/validator"
	"sigs.k8s.io/yaml"
)

// The versions whose schemas are used, and the checksums of their modules in the format of go.sum.
const (
	kubernetesVersion = "1.37.2"
	kubernetesSum     = "h1:A2VDEiObzkYqFTKhSsn0ZEb0RlLEXpHWj93gi2HqEwE="
	kedaVersion       = "2.21.0"
	kedaSum           = "h1:R6z2HZvstK4RLUMxroNACzBj74xGxt3kG59b5Xc+Xps="
)

// check runs kubeconform in strict mode. A PodMonitor is skipped: there is no schema for it.
func check(out io.Writer, dir string, files []string) error {
	v, err := validator.New([]string{filepath.Join(dir, "{{.ResourceKind}}{{.KindSuffix}}.json")}, validator.Opts{
		Strict: true, KubernetesVersion: kubernetesVersion, SkipKinds: map[string]struct{}{"PodMonitor": {}}})
	if err != nil {
		return err
	}
	var all []error
	valid := 0
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		for _, r := range v.Validate(name, f) { // closes f
			switch r.Status {
			case validator.Valid:
				valid++
			case validator.Skipped, validator.Empty:
			default:
				sig, _ := r.Resource.Signature() // empty for an object that could not be read
				all = append(all, fmt.Errorf("%s: %+v: %w", name, sig, r.Err))
			}
		}
	}
	if err := errors.Join(all...); err != nil {
		return err
	}
	if valid == 0 {
		return errors.New("there is nothing to check")
	}
	_, err = fmt.Fprintf(out, "%d objects are valid\n", valid)
	return err
}

// makeSchemas writes the schemas of the kinds that the chart uses into a folder, unless they are there.
func makeSchemas(dir string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("making schemas: %w", err)
		}
	}()
	done := filepath.Join(dir, "of-"+kubernetesVersion+"-"+kedaVersion)
	if _, err := os.Stat(done); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	kubernetes, err := module("k8s.io/kubernetes@v"+kubernetesVersion, kubernetesSum)
	if err != nil {
		return err
	}
	for group, kinds := range map[string][]string{
		"api__v1": {"Service", "ServiceAccount"}, "apis__apps__v1": {"Deployment"}, "apis__batch__v1": {"Job"},
		"apis__networking.k8s.io__v1": {"NetworkPolicy"}, "apis__policy__v1": {"PodDisruptionBudget"},
	} {
		raw, err := os.ReadFile(filepath.Join(kubernetes, "api", "openapi-spec", "v3", group+"_openapi.json"))
		if err != nil {
			return err
		}
		var api struct {
			Components map[string]map[string]any `json:"components"`
		}
		if err := json.Unmarshal(raw, &api); err != nil {
			return fmt.Errorf("reading %s: %w", group, err)
		}
		for _, kind := range kinds {
			if err := writeKind(dir, kind, api.Components["schemas"]); err != nil {
				return err
			}
		}
	}
	keda, err := module("github.com/kedacore/keda/v2@v"+kedaVersion, kedaSum)
	if err != nil {
		return err
	}
	crd := filepath.Join(keda, "config", "crd", "bases", "keda.sh_scaledobjects.yaml")
	if err := writeScaledObject(dir, crd); err != nil {
		return err
	}
	return os.WriteFile(done, nil, 0o644)
}

// module downloads a module, verifies its checksum and returns its folder.
func module(version, sum string) (string, error) {
	cmd := exec.Command("go", "mod", "download", "-json", version)
	cmd.Dir = os.TempDir() // outside a module, so that no go.mod is changed
	cmd.Stderr = os.Stderr
	said, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("downloading %s: %w: %s", version, err, said)
	}
	var m struct{ Dir, Sum string }
	if err := json.Unmarshal(said, &m); err != nil {
		return "", err
	}
	if m.Sum != sum {
		return "", fmt.Errorf("downloading %s: its checksum is %s, expected %s", version, m.Sum, sum)
	}
	return m.Dir, nil
}

// writeKind writes the schema of a kind together with all schemas that it can refer to.
func writeKind(dir, kind string, schemas map[string]any) error {
	for name, schema := range schemas {
		of, _ := schema.(map[string]any)
		for _, gvk := range list(of["x-kubernetes-group-version-kind"]) {
			if gvk["kind"] != kind {
				continue
			}
			suffix := "-" + gvk["version"].(string)
			if group := gvk["group"].(string); group != "" {
				suffix = "-" + strings.Split(group, ".")[0] + suffix
			}
			strict(schemas)
			return write(filepath.Join(dir, strings.ToLower(kind)+suffix+".json"), map[string]any{
				"$ref": "#/components/schemas/" + name, "components": map[string]any{"schemas": schemas}})
		}
	}
	return fmt.Errorf("there is no schema of a %s", kind)
}

func list(v any) (all []map[string]any) {
	items, _ := v.([]any)
	for _, item := range items {
		if m, ok := item.(map[string]any); ok {
			all = append(all, m)
		}
	}
	return all
}

func writeScaledObject(dir, crd string) error {
	raw, err := os.ReadFile(crd)
	if err != nil {
		return err
	}
	var def struct {
		Spec struct {
			Versions []struct {
				Name   string
				Schema struct {
					OpenAPIV3Schema map[string]any `json:"openAPIV3Schema"`
				}
			}
		}
	}
	if err := yaml.Unmarshal(raw, &def); err != nil {
		return err
	}
	for _, v := range def.Spec.Versions {
		schema := v.Schema.OpenAPIV3Schema
		strict(schema)
		delete(schema["properties"].(map[string]any), "metadata") // replaced: any object is valid
		schema["properties"].(map[string]any)["metadata"] = map[string]any{"type": "object"}
		if err := write(filepath.Join(dir, "scaledobject-keda-"+v.Name+".json"), schema); err != nil {
			return err
		}
	}
	return nil
}

// strict forbids undeclared fields in every object schema that does not allow them explicitly.
func strict(v any) {
	switch v := v.(type) {
	case map[string]any:
		_, named := v["properties"].(map[string]any)
		_, open := v["additionalProperties"]
		if named && v["type"] == "object" && !open && v["x-kubernetes-preserve-unknown-fields"] != true {
			v["additionalProperties"] = false
		}
		for _, each := range v {
			strict(each)
		}
	case []any:
		for _, each := range v {
			strict(each)
		}
	}
}

func write(path string, schema any) error {
	raw, err := json.Marshal(schema)
	if err != nil {
		return err
	}
	return os.WriteFile(path, raw, 0o644)
}
