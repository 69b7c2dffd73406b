package rule

import (
	"bytes"
	"regexp"
	"slices"

	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/rawjson"
)

// A rule across devices can have a key that is somebody's id, such as user.id. Its sums are then of one person, and
// have the id itself. An erasure deletes them as it deletes those of a device's key. Whose id a part of a key is, a
// person's or a device's, is told by its expression, which is also its name in results: erasing a device leaves the
// sums of a person of the same id, and a currency that reads as a name is left alone. An expression that falls back
// from the one to the other (user.id.or(device_id)) does not tell whose id it came to, and goes with both.
var (
	ofPeople  = regexp.MustCompile(`\b(user\.(id|anonymous_id|person)|user_id|anonymous_id)\b`)
	ofDevices = regexp.MustCompile(`\bdevice_id\b`)
)

// ofKind returns the pattern of the expressions whose values are ids of people or, without people, of devices.
func ofKind(people bool) *regexp.Regexp {
	if people {
		return ofPeople
	}
	return ofDevices
}

// namedKeys reports whether a key of the rule can be somebody's id.
func (r *Rule) namedKeys() bool {
	return slices.ContainsFunc(r.key, func(part keyPart) bool {
		return ofPeople.MatchString(part.name) || ofDevices.MatchString(part.name)
	})
}

// eachPart calls do with the parts of a key as a state has it: their names, and their values as JSON.
func (r *Rule) eachPart(key string, do func(name string, value []byte)) {
	raw, i := rawjson.Bytes(key), 1
	for _, part := range r.key {
		end, err := rawjson.Value(raw, i, 1)
		if err != nil { // it was written here
			return
		}
		do(part.name, raw[i:end])
		i = end + 1
	}
}

// isKey reports whether a key, as a state has it, is the name.
func (f *forgetting) isKey(r *Rule, key string) (is bool) {
	r.eachPart(key, func(name string, value []byte) {
		is = is || bytes.Equal(value, f.quoted) && ofKind(f.Name).MatchString(name)
	})
	return is
}

// names reports whether a key, as a result has it, is the name.
func (f *forgetting) names(key []byte) (is bool) {
	if !bytes.Contains(key, f.quoted) {
		return false
	}
	_, err := rawjson.Object(key, 0, 1, func(name []byte, plain bool, i int) (int, error) {
		end, err := rawjson.Value(key, i, 2)
		if err == nil && bytes.Equal(key[i:end], f.quoted) {
			is = is || ofKind(f.Name).MatchString(rawjson.Text(name, plain))
		}
		return end, err
	})
	return is && err == nil
}

// subjects returns the subjects that tombstones of a key's ids have.
func (r *Rule) subjects(fleet, key string) (all []string) {
	r.eachPart(key, func(name string, value []byte) {
		if len(value) < 2 || value[0] != '"' {
			return
		}
		id := string(rawjson.Unquote(value[1 : len(value)-1]))
		for _, people := range []bool{true, false} {
			if ofKind(people).MatchString(name) && id != "" {
				all = append(all, tombstone.Target{Fleet: fleet, Device: id, Name: people}.Stone().Subject)
			}
		}
	})
	return all
}
