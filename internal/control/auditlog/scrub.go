package auditlog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"weir/internal/platform/text"
)

const textMost = 200 // maximum bytes kept of a value

// kept tells whether a member of a request or an answer says what was done and never contains a secret.
func kept(name string) bool {
	return slices.Contains([]string{
		"id", "name", "fleet", "scopes", "device_prefix", "admin", "expires_at", "grace", "grace_seconds", // keys
		"group", "device", "device_id", "devices", "stages", "codes", "targets", // what it concerns
		"mode", "from", "to", "until", "rate", "dry_run", "reason", "state", "created_by", "note", "comment", // why
		"purpose", "granted", "at", "kind", // consents, blocks
		"anonymous_id", "user_id", "person", // identities: an erasure of either changes them
		"subject", "version", "number", "compatibility", "compatibilityLevel", "policy", "schemaType", // schemas
		"title", "detail", // of a refusal
	}, name)
}

// Scrub returns what of a JSON object may stand in the audit log: only the members that kept allows, with texts
// truncated and lists replaced by their length. Of a broken object it returns the members before the break; of
// anything else, nothing.
func Scrub(object []byte) map[string]any {
	out := map[string]any{}
	d := json.NewDecoder(bytes.NewReader(object))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return out
	}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return out
		}
		var value json.RawMessage
		if d.Decode(&value) != nil {
			return out
		}
		if kept(name) {
			v := brief(value)
			if name == "scopes" { // name the scopes instead of counting them
				v = Text(strings.NewReplacer(`"`, "", "[", "", "]", "").Replace(string(value)))
			}
			if v != nil {
				out[name] = v
			}
		}
	}
	return out
}

func brief(raw json.RawMessage) any {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return nil
	}
	switch v := v.(type) {
	case string:
		return Text(v)
	case []any:
		if len(v) == 1 {
			if one, ok := v[0].(string); ok {
				return Text(one)
			}
		}
		return fmt.Sprintf("%d of them", len(v))
	case bool, float64:
		return v
	}
	return nil
}

// Text cuts a text to what an entry holds.
func Text(s string) string { return text.Cut(s, textMost) }
