// Command chart renders and checks weir's Helm chart without Helm and without an API server. It is a module of its
// own, so that weir does not depend on its libraries.
//
//	chart render CHART NAME [VALUES…]   prints the output of Helm's engine
//	chart schemas DIR                   writes the schemas of Kubernetes and KEDA, once
//	chart check DIR FILE…               validates objects against them, strictly
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"sigs.k8s.io/yaml"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "chart:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	switch {
	case len(args) >= 3 && args[0] == "render":
		return render(out, args[1], args[2], args[3:])
	case len(args) == 2 && args[0] == "schemas":
		return makeSchemas(args[1])
	case len(args) >= 3 && args[0] == "check":
		return check(out, args[1], args[2:])
	}
	return errors.New("usage: chart render CHART NAME [VALUES…] | chart schemas DIR | chart check DIR FILE…")
}

// render prints the objects and notes of a chart, ordered by template name. Values that the chart's schema refuses,
// and a template that fails, are errors.
func render(out io.Writer, dir, name string, valueFiles []string) error {
	chart, err := loader.Load(dir)
	if err != nil {
		return fmt.Errorf("reading the chart: %w", err)
	}
	values := map[string]any{}
	for _, file := range valueFiles {
		raw, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("reading values: %w", err)
		}
		more := map[string]any{}
		if err := yaml.UnmarshalStrict(raw, &more); err != nil {
			return fmt.Errorf("reading values of %s: %w", file, err)
		}
		values = chartutil.CoalesceTables(more, values)
	}
	capabilities := chartutil.DefaultCapabilities.Copy()
	capabilities.KubeVersion = chartutil.KubeVersion{Version: "v" + kubernetesVersion, Major: "1", Minor: "37"}
	filled, err := chartutil.ToRenderValues(chart, values, chartutil.ReleaseOptions{Name: name, Namespace: "telemetry",
		Revision: 1, IsInstall: true}, capabilities)
	if err != nil {
		return fmt.Errorf("taking values: %w", err)
	}
	made, err := engine.Render(chart, filled)
	if err != nil {
		return fmt.Errorf("rendering: %w", err)
	}
	var names []string
	for name, text := range made {
		if strings.TrimSpace(text) != "" && !strings.HasSuffix(name, ".tpl") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		text := strings.TrimSpace(made[name])
		if strings.HasSuffix(name, ".txt") { // notes become comments
			text = strings.ReplaceAll("# "+strings.ReplaceAll(text, "\n", "\n# "), "# \n", "#\n")
		}
		if _, err := fmt.Fprintf(out, "---\n# Source: %s\n%s\n", name, strings.TrimPrefix(text, "---\n")); err != nil {
			return err
		}
	}
	return nil
}
