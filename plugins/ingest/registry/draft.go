package registry

import "context"

// Draft returns a schema with all that it refers to, checked as register checks one, without
// registering it. Refused tells whether an error is an answer about the schema.
func (r *Registry) Draft(ctx context.Context, subject string, schema string, references []Reference) (text []byte,
	err error) {
	if err := checkSubject(subject); err != nil {
		return nil, err
	}
	s := submission{Schema: schema, SchemaType: "JSON", References: references}
	if err := s.check(ctx, subject, lookIn(r.store.db, withoutDeleted)); err != nil {
		return nil, err
	}
	return []byte(s.text), nil
}
