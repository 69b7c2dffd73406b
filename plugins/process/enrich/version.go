package enrich

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/redpanda-data/benthos/v4/public/service"
	"gopkg.in/yaml.v3"

	"weir/internal/event"
)

// buildFormat is the time format of a database's build in a version.
const buildFormat = "20060102T150405Z"

// version returns a hash of all that decides a look-up's answers and what is written into events: its key, source and
// mapping. It is just long enough to distinguish configs. It does not cover the user and the options of URLs, nor
// secrets and timeouts of processors: changing a password changes no answer, and the hash must reveal nothing of it.
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
		processors[i] = deciding(processors[i])
	}
	rules := ""
	if n.agent {
		rules = agentRules
	}
	raw, err := yaml.Marshal([]any{n.text, n.geo != "", rules, placeOf(n.sql), n.query, placeOf(n.redis), n.hash, mapping,
		processors}) // with the members of objects in the order of their names
	if err != nil {
		return "", fmt.Errorf("reading the config of a look-up: %w", err)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:4]), nil
}

var (
	// undeciding are the fields of processors for authentication and for timeouts and retries.
	undeciding = []string{"basic_auth", "oauth", "oauth2", "jwt", "tls", "sasl", "credentials", "timeout", "retries",
		"max_retries", "retry_period", "max_retry_backoff", "backoff", "rate_limit"}
	// secret has parts of the names of fields and headers that hold secrets.
	secret = []string{"password", "passwd", "secret", "token", "authorization", "api_key", "apikey", "access_key",
		"cookie"}
)

// deciding returns the part of a processor's config that decides its answers.
func deciding(config any) any {
	switch config := config.(type) {
	case map[string]any:
		for key, v := range config {
			if without(key, v) {
				delete(config, key)
			} else {
				config[key] = deciding(v)
			}
		}
	case map[any]any: // some keys are no text
		for key, v := range config {
			if name, is := key.(string); is && without(name, v) {
				delete(config, key)
			} else {
				config[key] = deciding(v)
			}
		}
	case []any:
		for i, v := range config {
			config[i] = deciding(v)
		}
	case string:
		if u, err := url.Parse(config); err == nil && u.Host != "" {
			return placeOf(config)
		}
	}
	return config
}

// without reports whether a field has no effect on answers.
func without(key string, v any) bool {
	key = strings.ReplaceAll(strings.ToLower(key), "-", "_")
	if slices.Contains(undeciding, key) {
		return true
	}
	switch v := v.(type) {
	case map[string]any, map[any]any, []any: // the key is a name that a person chose, such as that of a branch
		return false
	case string:
		// it may contain a password at an unknown place
		if u, err := url.Parse(v); key == "dsn" && (err != nil || u.Host == "") {
			return true
		}
	}
	return slices.ContainsFunc(secret, func(part string) bool { return strings.Contains(key, part) })
}

// placeOf returns a URL without its user and options.
func placeOf(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host + u.Path
}

// note adds the look-up and its version to the metadata of the event that it wrote into.
func (w *wanted) note() {
	tag := w.of.tag
	if w.is.built != "" {
		tag += "." + w.is.built
	}
	if before := event.Meta(w.msg, event.HeaderEnriched); before != "" {
		tag = before + "," + tag // neither names nor versions contain commas
	}
	w.msg.MetaSetMut(event.HeaderEnriched, tag)
}
