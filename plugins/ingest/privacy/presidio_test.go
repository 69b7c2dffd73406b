package privacy

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"weir/internal/platform/pii"
	"weir/tests/integration/require"
)

// labelled is a text of presidio-research, with what is personal in it.
type labelled struct {
	Text  string `json:"full_text"`
	Spans []struct {
		Type string `json:"entity_type"`
		From int    `json:"start_position"` // in characters
		To   int    `json:"end_position"`
	} `json:"spans"`
}

// structured are its labels for what has a structure.
var structured = map[string]pii.Kind{"PHONE_NUMBER": pii.Phone, "CREDIT_CARD": pii.Card, "EMAIL_ADDRESS": pii.Email,
	"US_SSN": pii.SSN, "IBAN_CODE": pii.IBAN, "IP_ADDRESS": pii.IP}

// What others have labelled is found with the regions of the default: of all that has
// a structure 99 %, of each kind 98 %, and of a hundred texts at most one has
// anything else taken for it. WEIR_TEST_CORPUS names another file of theirs.
func TestPrivacy_FindsWhatPresidioLabels(t *testing.T) {
	for _, file := range presidioFiles(t) {
		t.Run(filepath.Base(file), func(t *testing.T) { measure(t, file) })
	}
}

// presidioFiles are the files that there are.
func presidioFiles(t *testing.T) []string {
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	if own := os.Getenv("WEIR_TEST_CORPUS"); own != "" {
		return []string{own}
	}
	require.Python(t, root)
	out, err := exec.Command(filepath.Join(root, "tests/integration/corpus.sh")).Output()
	if err != nil {
		require.Missing(t, "the labelled texts cannot be fetched by tests/integration/corpus.sh: %v", err)
	}
	return []string{strings.TrimSpace(string(out))}
}

func measure(t *testing.T, file string) {
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var texts []labelled
	if err := json.Unmarshal(raw, &texts); err != nil {
		t.Fatal(err)
	}
	finder := walkerOf(t, "{}").p.finder
	found, all := map[string]int{}, map[string]int{}
	foundAll, labels, wrong := 0, 0, 0
	for _, text := range texts {
		var folded pii.Text
		folded.Fold([]byte(text.Text), false)
		spans := finder.Finds(folded.Folded, pii.HintNone, nil)
		beside := len(spans) // of finds that are no label's
		for _, s := range spans {
			from, to := folded.Raw(s.From, s.To)
			for _, want := range text.Spans {
				kind, ok := structured[want.Type]
				if a, b := at(text.Text, want.From), at(text.Text, want.To); ok && from < b && to > a {
					if beside--; s.Kind == kind && from <= a && to >= b {
						found[want.Type]++
					}
					break
				}
			}
		}
		wrong += min(beside, 1)
		for _, want := range text.Spans {
			if _, ok := structured[want.Type]; ok {
				all[want.Type]++
			}
		}
	}
	for kind, n := range all {
		foundAll, labels = foundAll+found[kind], labels+n
		t.Logf("%s: %d of %d", kind, found[kind], n)
		if 100*found[kind] < 98*n {
			t.Errorf("of %s %d of %d are found", kind, found[kind], n)
		}
	}
	if len(texts) < 1000 || len(all) != len(structured) || 100*foundAll < 99*labels || 100*wrong > len(texts) {
		t.Errorf("of %d texts with %d labels %d are found, and %d texts have wrong ones", len(texts), labels, foundAll, wrong)
	}
	t.Logf("%d of %d labels of %d texts, of which %d have wrong finds", foundAll, labels, len(texts), wrong)
}

// at is where the nth character of a text begins.
func at(text string, n int) int {
	for i := range text {
		if n == 0 {
			return i
		}
		n--
	}
	return len(text)
}
