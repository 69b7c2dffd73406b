package schema

import (
	"context"
	"net/http"
)

// reference lets a schema use a registered version of another subject: where
// the schema says {"$ref": name}, that version is meant.
type reference struct {
	Name    string `json:"name"`
	Subject string `json:"subject"`
	Version int    `json:"version"` // -1 is the latest, until it is registered
}

// referred is a reference that was followed.
type referred struct {
	reference
	text       string
	references []referred // its own
}

// lookup finds a version: its number, its text, and what it refers to.
type lookup func(ctx context.Context, subject string, version int) (number int, text string, references []reference, err error)

const (
	referencesMax     = 200 // of one schema, with those of the schemas that it refers to
	referenceDepthMax = 16
)

// follow reads what references name, and what those name.
func follow(ctx context.Context, references []reference, look lookup) ([]referred, error) {
	left := referencesMax
	return followFurther(ctx, references, look, referenceDepthMax, &left)
}

func followFurther(ctx context.Context, references []reference, look lookup, depth int, left *int) ([]referred, error) {
	if *left -= len(references); *left < 0 || depth == 0 && len(references) > 0 {
		return nil, fails(http.StatusUnprocessableEntity, 42201, "there are more than %d references, or more than %d deep", referencesMax, referenceDepthMax)
	}
	var all []referred
	names := map[string]bool{}
	for _, r := range references {
		if r.Name == "" || names[r.Name] {
			return nil, fails(http.StatusUnprocessableEntity, 42201, "the references need names, each its own: %q", shorten(r.Name))
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
		all = append(all, referred{reference: r, text: text, references: further})
	}
	return all, nil
}

// bundled is the text of a schema together with all that it refers to.
func bundled(ctx context.Context, text string, references []reference, look lookup) (string, error) {
	if len(references) == 0 {
		return text, nil
	}
	found, err := follow(ctx, references, look)
	if err != nil {
		return "", err
	}
	return bundle(text, found)
}
