package scenarios

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// Every list of processors in a stream config is the target of a config test, alone or as a part of a longer target.
func TestConfigs_EveryProcessorChainIsTested(t *testing.T) {
	var tests strings.Builder
	for _, path := range glob(t, repo("tests/configs/*.yaml")) {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		tests.Write(raw)
	}
	chains := 0
	for _, path := range glob(t, repo("configs/streams/*.yaml")) {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var config any
		if err := yaml.Unmarshal(raw, &config); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		walk(config, "", func(pointer string) {
			chains++
			target := "../../configs/streams/" + filepath.Base(path) + "#" + pointer
			if !strings.Contains(tests.String(), target+"\n") && !strings.Contains(tests.String(), target+`"`) &&
				!strings.Contains(tests.String(), target+"/") {
				t.Errorf("no config test has the target %s", target)
			}
		})
	}
	if chains < 8 {
		t.Fatalf("found only %d processor chains", chains)
	}
}

func walk(node any, pointer string, chain func(pointer string)) {
	switch n := node.(type) {
	case map[string]any:
		for key, child := range n {
			if _, list := child.([]any); list && key == "processors" {
				chain(pointer + "/processors")
				continue
			}
			walk(child, pointer+"/"+key, chain)
		}
	case []any:
		for i, child := range n {
			walk(child, fmt.Sprintf("%s/%d", pointer, i), chain)
		}
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("nothing matches %s (%v)", pattern, err)
	}
	return paths
}
