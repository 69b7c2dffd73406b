package enrich

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"

	"github.com/redpanda-data/benthos/v4/public/service"
	"gopkg.in/yaml.v3"

	"weir/internal/event"
)

// buildFormat is how a build of a database is written in a version.
const buildFormat = "20060102T150405Z"

// version is a hash of what decides a look-up's answers and what becomes of them: its
// key, its source and its mapping. It is as short as tells one config from the next. Of
// a URL it has neither the user nor the options: a password that is changed changes no
// answer.
func (n *named) version(mapping string, children []*service.ParsedConfig) (string, error) {
	processors := make([]any, len(children))
	for i, child := range children {
		v, err := child.FieldAny()
		if err != nil {
			return "", err
		}
		text, err := yaml.Marshal(v) // a node of YAML, or what was read of one
		if err == nil {
			err = yaml.Unmarshal(text, &processors[i])
		}
		if err != nil {
			return "", fmt.Errorf("reading the processors of a look-up: %w", err)
		}
	}
	rules := ""
	if n.agent {
		rules = agentRules
	}
	raw, err := json.Marshal([]any{n.text, n.geo != "", rules, placeOf(n.sql), n.query, placeOf(n.redis), n.hash, mapping,
		processors})
	if err != nil {
		return "", fmt.Errorf("reading the config of a look-up: %w", err)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:4]), nil
}

// placeOf is where a URL leads, without who goes there.
func placeOf(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host + u.Path
}

// note names the look-up and its version beside the event that it wrote into.
func (w *wanted) note() {
	tag := w.of.tag
	if w.is.built != "" {
		tag += "." + w.is.built
	}
	if before := event.Meta(w.msg, event.HeaderEnriched); before != "" {
		tag = before + "," + tag // a name and a version need no escape
	}
	w.msg.MetaSetMut(event.HeaderEnriched, tag)
}
