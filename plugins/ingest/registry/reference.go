package registry

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"weir/internal/platform/text"
)

// Reference lets a schema use a registered version of another subject: it is what {"$ref": name} in
// the schema means.
type Reference struct {
	Name    string `json:"name"`
	Subject string `json:"subject"`
	Version int    `json:"version"` // -1: the latest; replaced by its number when the schema is registered
}

// referred is a reference and what it refers to.
type referred struct {
	Reference
	text       string
	references []referred // its own
}

// lookup finds a version: it returns its number, its text, and its references.
type lookup func(ctx context.Context, subject string, version int) (number int, text string, references []Reference,
	err error)

// ParseReference reads NAME=SUBJECT/VERSION.
func ParseReference(s string) (Reference, error) {
	name, rest, _ := strings.Cut(s, "=")
	i := strings.LastIndexByte(rest, '/')
	if i > 0 && name != "" {
		version, err := strconv.Atoi(rest[i+1:])
		if rest[i+1:] == "latest" {
			version, err = -1, nil
		}
		if err == nil && (version > 0 || version == -1) {
			return Reference{Name: name, Subject: rest[:i], Version: version}, nil
		}
	}
	return Reference{}, fmt.Errorf("reference %q is not NAME=SUBJECT/VERSION", text.Shorten(s))
}

// nowhere is the lookup of a folder of files, which has no other subjects.
func nowhere(_ context.Context, subject string, version int) (int, string, []Reference, error) {
	return 0, "", nil, fails(http.StatusUnprocessableEntity, 42201,
		"No schema reference found for subject %q and version %d: references need a registry", text.Shorten(subject), version)
}

const (
	referencesMax     = 200 // of a schema, including those of the schemas that it refers to
	referenceDepthMax = 16
)

// follow looks up references, and the references of what they refer to.
func follow(ctx context.Context, references []Reference, look lookup) ([]referred, error) {
	left := referencesMax
	return followFurther(ctx, references, look, referenceDepthMax, &left)
}

func followFurther(ctx context.Context, references []Reference, look lookup, depth int, left *int) ([]referred, error) {
	if *left -= len(references); *left < 0 || depth == 0 && len(references) > 0 {
		return nil, fails(http.StatusUnprocessableEntity, 42201, "there are more than %d references, or more than %d deep",
			referencesMax, referenceDepthMax)
	}
	var all []referred
	names := map[string]bool{}
	for _, r := range references {
		if r.Name == "" || names[r.Name] {
			return nil, fails(http.StatusUnprocessableEntity, 42201, "the references need names, each its own: %q",
				text.Shorten(r.Name))
		}
		names[r.Name] = true
		number, text, own, err := look(ctx, r.Subject, r.Version)
		if err != nil {
			return nil, err
		}
		r.Version = number
		further, err := followFurther(ctx, own, look, depth-1, left)
		if err != nil {
			return nil, err
		}
		all = append(all, referred{Reference: r, text: text, references: further})
	}
	return all, nil
}

// bundled returns the text of a schema with all that it refers to.
func bundled(ctx context.Context, text string, references []Reference, look lookup) (string, error) {
	if len(references) == 0 {
		return text, nil
	}
	found, err := follow(ctx, references, look)
	if err != nil {
		return "", err
	}
	return bundle(text, found)
}
