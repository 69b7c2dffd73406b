package deploy

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"weir/tests/integration/require"
)

// update rewrites the golden files:
//
//	go test ./tests/deploy -run Chart -update
var update = flag.Bool("update", false, "write tests/deploy/chart/*.golden")

// sets returns the sets of values: chart/NAME.yaml has the values, chart/NAME.golden the rendered chart.
func sets() []string { return []string{"minimal", "full"} }

// chart runs the tool of tests/tools/chart.
func chart(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(require.Tool(t, "chart"), args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, stderr.Bytes())
	}
	return string(out), err
}

// object holds the fields of a Kubernetes object that the tests read.
type object struct {
	Kind     string
	Metadata struct {
		Name   string
		Labels map[string]string
	}
	Spec yaml.Node
}

// made returns the objects of a golden file.
func made(t *testing.T, set string) (all []object) {
	t.Helper()
	decoder := yaml.NewDecoder(bytes.NewReader(read(t, "tests/deploy/chart/"+set+".golden")))
	for {
		var o object
		err := decoder.Decode(&o)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%s.golden: %v", set, err)
		}
		if o.Kind != "" {
			all = append(all, o)
		}
	}
	if roles := count(all, "Deployment"); len(all) < 20 || roles < 5 {
		t.Fatalf("%s has only %d objects, %d of them Deployments", set, len(all), roles)
	}
	return all
}

func count(all []object, kind string) (n int) {
	for _, o := range all {
		if o.Kind == kind {
			n++
		}
	}
	return n
}

func into[T any](t *testing.T, o object) (v T) {
	t.Helper()
	if err := o.Spec.Decode(&v); err != nil {
		t.Fatalf("%s %s: %v", o.Kind, o.Metadata.Name, err)
	}
	return v
}

// Helm's engine renders the chart to what the golden files contain.
func TestChart_MakesWhatTheGoldenFilesHold(t *testing.T) {
	for _, set := range sets() {
		got, err := chart(t, "render", "../../deploy/chart", "weir", "chart/"+set+".yaml")
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile("chart/"+set+".golden", []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want := strings.Split(string(read(t, "tests/deploy/chart/"+set+".golden")), "\n")
		for i, line := range strings.Split(got, "\n") {
			if i >= len(want) || line != want[i] {
				t.Fatalf("line %d of what %s.yaml makes is %q: "+
					"go test ./tests/deploy -run Chart -update, and look at the difference", i+1, set, line)
			}
		}
	}
}

// Every object is valid under the schemas of Kubernetes and KEDA, which are applied strictly: unknown fields are
// refused.
func TestChart_EveryObjectIsWhatAClusterTakes(t *testing.T) {
	schemas := filepath.Join(filepath.Dir(require.Tool(t, "chart")), "schemas")
	mistakes := [][2]string{{"maxUnavailable: 1", "maxUnavailible: 1"}, {"readOnlyRootFilesystem: true",
		"readOnlyRootFilesystem: yess"}, {"minReplicaCount:", "minReplicas:"}, {"podSelector:", "selector:"}}
	tried := map[string]bool{}
	for _, set := range sets() {
		golden := string(read(t, "tests/deploy/chart/"+set+".golden"))
		check := func(text string) error {
			file := filepath.Join(t.TempDir(), set+".yaml")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := chart(t, "check", schemas, file)
			return err
		}
		if err := check(golden); err != nil {
			t.Errorf("%s: %v", set, err)
		}
		for _, wrong := range mistakes {
			if !strings.Contains(golden, wrong[0]) {
				continue // not in this set
			}
			tried[wrong[0]] = true
			if err := check(strings.Replace(golden, wrong[0], wrong[1], 1)); err == nil {
				t.Errorf("%s: %s is taken", set, wrong[1])
			}
		}
	}
	for _, wrong := range mistakes {
		if !tried[wrong[0]] {
			t.Errorf("no set has %q: the mistake %q was not tried", wrong[0], wrong[1])
		}
	}
}

func TestChart_RefusesValuesThatMeanNothing(t *testing.T) {
	for values, names := range map[string]string{
		"environmnet: {}": "environmnet",
		"environment: { WEIR_KAFKA_PASSWORD: hunter2 }":             "WEIR_KAFKA_PASSWORD",
		"environment: { WEIR_DRAIN: 1m }":                           "WEIR_DRAIN",
		"drainSeconds: 0":                                           "drainSeconds",
		"image: { tag: latest }":                                    "tag",
		"image: { digest: sha256:1 }":                               "digest",
		"roles: { raw: { replicas: -1 } }":                          "replicas",
		"roles: { raw: { replica: 3 } }":                            "replica",
		"roles: { rules: { scale: { min: 1, max: 3 } } }":           "scale",
		"roles: { rules: { scale: { min: 1, max: 3, group: g } } }": "scale",
		"autoscaling: { enabled: true }":                            "autoscaling.prometheus",
		"autoscaling: { enabled: true, prometheus: 'http://p' }\nroles: { raw: { scale: { min: 30 } } }": "min is above max",
		"topologySpread: { zone: Sometimes }": "zone",
	} {
		file := filepath.Join(t.TempDir(), "values.yaml")
		if err := os.WriteFile(file, []byte(values), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := chart(t, "render", "../../deploy/chart", "weir", file); err == nil ||
			!strings.Contains(err.Error(), names) {
			t.Errorf("%s: %v, expected a refusal that names %s", values, err, names)
		}
	}
}

type deployment struct {
	Replicas *int
	Template struct {
		Metadata struct{ Labels map[string]string }
		Spec     struct {
			Grace    int  `yaml:"terminationGracePeriodSeconds"`
			Token    bool `yaml:"automountServiceAccountToken"`
			Security struct {
				NonRoot bool `yaml:"runAsNonRoot"`
				User    int  `yaml:"runAsUser"`
				Seccomp struct{ Type string }
			} `yaml:"securityContext"`
			Spread []struct {
				Key string `yaml:"topologyKey"`
			} `yaml:"topologySpreadConstraints"`
			Containers []struct {
				Args  []string
				Image string
				Env   []struct{ Name, Value string }
				Ports []struct {
					Name          string
					ContainerPort int `yaml:"containerPort"`
				}
				Security struct {
					ReadOnly     bool `yaml:"readOnlyRootFilesystem"`
					Escalation   bool `yaml:"allowPrivilegeEscalation"`
					Capabilities struct{ Drop []string }
				} `yaml:"securityContext"`
				StartupProbe   probe `yaml:"startupProbe"`
				LivenessProbe  probe `yaml:"livenessProbe"`
				ReadinessProbe probe `yaml:"readinessProbe"`
				Resources      struct {
					Requests struct{ CPU, Memory string }
					Limits   map[string]string
				}
			}
		}
	}
}

type probe struct {
	HTTP struct{ Path, Port, Scheme string } `yaml:"httpGet"`
}

// Every pod runs without privileges on a read-only root, is probed at the paths of docs/deploy.md, has time to drain,
// and has a disruption budget.
func TestChart_EveryPodIsConfinedAskedAndGivenTime(t *testing.T) {
	documented := string(read(t, "docs/configuration.md"))
	for _, set := range sets() {
		objects := made(t, set)
		budgets := map[string]bool{}
		for _, o := range objects {
			budgets[o.Metadata.Labels["app.kubernetes.io/component"]] =
				budgets[o.Metadata.Labels["app.kubernetes.io/component"]] || o.Kind == "PodDisruptionBudget"
		}
		for _, o := range objects {
			if o.Kind != "Deployment" {
				continue
			}
			d, role := into[deployment](t, o), o.Metadata.Labels["app.kubernetes.io/component"]
			pod, c := d.Template.Spec, d.Template.Spec.Containers[0]
			if !pod.Security.NonRoot || pod.Security.User != 65532 || pod.Token || !c.Security.ReadOnly ||
				c.Security.Escalation || !slices.Equal(c.Security.Capabilities.Drop, []string{"ALL"}) {
				t.Errorf("%s: %s is not confined: %+v %+v", set, role, pod.Security, c.Security)
			}
			if c.Args[0] != "role" || c.Args[len(c.Args)-1] != role || !budgets[role] || len(pod.Spread) != 2 {
				t.Errorf("%s: %s runs %q, has a budget: %t, is spread by %v", set, role, c.Args, budgets[role], pod.Spread)
			}
			ready := "ops/ready"
			if role == "ingest" {
				ready = "ingest/healthz" // stays ready while the log is away, so that devices get its 503; 503 from SIGTERM on
			}
			if at := c.ReadinessProbe.HTTP; at.Port+at.Path != ready || c.LivenessProbe.HTTP.Path != "/ping" ||
				c.StartupProbe.HTTP.Path != "/ping" {
				t.Errorf("%s: %s is asked at %+v", set, role, at)
			}
			if _, limited := c.Resources.Limits["cpu"]; limited || c.Resources.Requests.CPU == "" ||
				c.Resources.Limits["memory"] == "" {
				t.Errorf("%s: %s has %+v", set, role, c.Resources)
			}
			var drain time.Duration
			for _, v := range c.Env {
				if regexp.MustCompile(`PASSWORD$|SECRET`).MatchString(v.Name) {
					t.Errorf("%s: %s has %s in its environment", set, role, v.Name)
				}
				if strings.HasPrefix(v.Name, "WEIR_") && !strings.Contains(documented, "| `"+v.Name+"` |") {
					t.Errorf("%s: %s is given %s, which docs/configuration.md does not know", set, role, v.Name)
				}
				if v.Name == "WEIR_DRAIN" {
					var err error
					if drain, err = time.ParseDuration(v.Value); err != nil {
						t.Errorf("%s: %s: %v", set, role, err)
					}
				}
			}
			grace := time.Duration(pod.Grace) * time.Second
			if drain < time.Second || grace < drain+30*time.Second { // 30 s: the engine's shutdown_timeout
				t.Errorf("%s: %s has %s, and goes on for %s after SIGTERM", set, role, grace, drain)
			}
		}
	}
}

// A policy selects every pod, and the ports that policies open are those on which the containers listen.
func TestChart_PoliciesAreOfThePortsThatThereAre(t *testing.T) {
	type policy struct {
		Selector struct {
			Labels map[string]string `yaml:"matchLabels"`
		} `yaml:"podSelector"`
		Types   []string `yaml:"policyTypes"`
		Ingress []struct{ Ports []struct{ Port int } }
	}
	for _, set := range sets() {
		ports := map[string][]int{} // by role; "" applies to all
		closed := false
		for _, o := range made(t, set) {
			if o.Kind != "NetworkPolicy" {
				continue
			}
			p := into[policy](t, o)
			role := p.Selector.Labels["app.kubernetes.io/component"]
			closed = closed || role == "" && slices.Equal(p.Types, []string{"Ingress", "Egress"})
			for _, in := range p.Ingress {
				for _, each := range in.Ports {
					ports[role] = append(ports[role], each.Port)
				}
			}
		}
		if !closed {
			t.Errorf("%s: no policy closes every pod", set)
		}
		for _, o := range made(t, set) {
			if o.Kind != "Deployment" {
				continue
			}
			role := o.Metadata.Labels["app.kubernetes.io/component"]
			var listens []int
			for _, p := range into[deployment](t, o).Template.Spec.Containers[0].Ports {
				listens = append(listens, p.ContainerPort)
			}
			if open := slices.Concat(ports[""], ports[role]); !slices.Equal(open, listens) {
				t.Errorf("%s: %s listens on %v, and the policies open %v", set, role, listens, open)
			}
		}
	}
}
