package registry

import (
	"database/sql"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

func (r *Registry) getSubjects(req *http.Request) (any, error) {
	versions, err := versionsOf(req.Context(), r.store.db, "", deletedOf(req))
	subjects := []string{}
	for _, v := range versions {
		if strings.HasPrefix(v.Subject, req.URL.Query().Get("subjectPrefix")) && !slices.Contains(subjects, v.Subject) {
			subjects = append(subjects, v.Subject)
		}
	}
	return page(req, subjects), err
}

func (r *Registry) getSchemas(req *http.Request) (any, error) {
	versions, err := versionsOf(req.Context(), r.store.db, "", deletedOf(req))
	all := []registered{}
	for i, v := range versions {
		last := i+1 == len(versions) || versions[i+1].Subject != v.Subject
		if strings.HasPrefix(v.Subject, req.URL.Query().Get("subjectPrefix")) && (last || !flag(req, "latestOnly")) {
			all = append(all, v.registered)
		}
	}
	return page(req, all), err
}

func (r *Registry) getVersions(req *http.Request) (any, error) {
	subject := req.PathValue("subject")
	versions, err := versionsOf(req.Context(), r.store.db, subject, deletedOf(req))
	if err == nil && len(versions) == 0 {
		err = subjectNotFound(subject)
	}
	return page(req, numbers(versions)), err
}

func numbers(versions []storedVersion) []int {
	out := make([]int, len(versions))
	for i, v := range versions {
		out[i] = v.Version
	}
	return out
}

func (r *Registry) version(req *http.Request) (storedVersion, error) {
	n, err := number(req)
	if err != nil {
		return storedVersion{}, err
	}
	subject := req.PathValue("subject")
	versions, err := versionsOf(req.Context(), r.store.db, subject, deletedOf(req))
	if err != nil {
		return storedVersion{}, err
	}
	return pick(versions, subject, n)
}

func (r *Registry) getVersion(req *http.Request) (any, error) {
	v, err := r.version(req)
	return v.registered, err
}

func (r *Registry) getVersionText(req *http.Request) (any, error) {
	v, err := r.version(req)
	return plainText(v.Schema), err
}

// getReferencedBy returns the ids of the schemas that refer to a version.
func (r *Registry) getReferencedBy(req *http.Request) (any, error) {
	v, err := r.version(req)
	if err != nil {
		return nil, err
	}
	ids, err := referrers(req.Context(), r.store.db, v.Subject, v.Version, deletedOf(req))
	return page(req, ids), err
}

func (r *Registry) postVersion(req *http.Request) (any, error) {
	var s submission
	if err := body(req, &s); err != nil {
		return nil, err
	}
	return r.register(req.Context(), req.PathValue("subject"), s)
}

func (r *Registry) postLookup(req *http.Request) (any, error) {
	var s submission
	if err := body(req, &s); err != nil {
		return nil, err
	}
	subject := req.PathValue("subject")
	if err := s.check(req.Context(), subject, lookIn(r.store.db, withoutDeleted)); err != nil {
		return nil, err
	}
	versions, err := versionsOf(req.Context(), r.store.db, subject, deletedOf(req))
	if err != nil {
		return nil, err
	}
	if len(versions) == 0 {
		return nil, subjectNotFound(subject)
	}
	for i := len(versions) - 1; i >= 0; i-- {
		if versions[i].hash == s.hash() {
			return versions[i].registered, nil
		}
	}
	return nil, schemaNotFound()
}

func (r *Registry) postCompatible(req *http.Request) (any, error) {
	var s submission
	if err := body(req, &s); err != nil {
		return nil, err
	}
	subject := req.PathValue("subject")
	if err := s.check(req.Context(), subject, lookIn(r.store.db, withoutDeleted)); err != nil {
		if e, ok := isAPIError(err); ok && flag(req, "verbose") {
			return map[string]any{"is_compatible": false, "messages": []string{e.message}}, nil
		}
		return nil, err
	}
	set, err := effective(req.Context(), r.store.db, subject)
	if err != nil {
		return nil, err
	}
	versions, err := versionsOf(req.Context(), r.store.db, subject, withoutDeleted)
	if err != nil {
		return nil, err
	}
	if req.PathValue("version") != "" {
		n, err := number(req)
		if err != nil {
			return nil, err
		}
		switch v, err := pick(versions, subject, n); {
		case err == nil:
			versions = []storedVersion{v}
		case n > 0:
			return nil, versionNotFound(n)
		} // a subject without versions is compatible with anything
	}
	messages, err := held(req.Context(), r.store.db, set, s, versions)
	if err != nil {
		return nil, err
	}
	compatible := len(messages) == 0
	if compatible && flag(req, "verbose") {
		if messages, err = onPurpose(req.Context(), r.store.db, set, s, versions); err != nil {
			return nil, err
		}
	}
	out := map[string]any{"is_compatible": compatible}
	if flag(req, "verbose") {
		out["messages"] = append([]string{}, messages...)
	}
	return out, nil
}

func idOf(req *http.Request) (int, error) {
	id, err := strconv.ParseInt(req.PathValue("id"), 10, 32)
	if err != nil {
		return 0, schemaNotFound()
	}
	return int(id), nil
}

func (r *Registry) byID(req *http.Request) ([]storedVersion, string, error) {
	id, err := idOf(req)
	if err != nil {
		return nil, "", err
	}
	var text string
	err = r.store.db.QueryRowContext(req.Context(), `SELECT schema FROM weir_schema_text WHERE id = $1`, id).Scan(&text)
	if err == sql.ErrNoRows {
		err = schemaNotFound()
	}
	if err != nil {
		return nil, "", err
	}
	versions, err := versionsWhere(req.Context(), r.store.db, string(deletedOf(req))+` AND v.id = $1`, id)
	return versions, text, err
}

func (r *Registry) getByID(req *http.Request) (any, error) {
	_, text, err := r.byID(req)
	if err != nil {
		return nil, err
	}
	id, err := idOf(req)
	if err != nil {
		return nil, err
	}
	out := map[string]any{"schema": text, "schemaType": "JSON"}
	references, err := referencesOf(req.Context(), r.store.db, `r.id = $1`, id)
	if list := references[id]; list != nil {
		out["references"] = list
	}
	if err == nil && flag(req, "fetchMaxId") {
		var last int
		err = r.store.db.QueryRowContext(req.Context(), `SELECT max(id) FROM weir_schema_text`).Scan(&last)
		out["maxId"] = last
	}
	return out, err
}

func (r *Registry) getTextByID(req *http.Request) (any, error) {
	_, text, err := r.byID(req)
	return plainText(text), err
}

func (r *Registry) getSubjectsByID(req *http.Request) (any, error) {
	versions, _, err := r.byID(req)
	subjects := []string{}
	for _, v := range versions {
		if !slices.Contains(subjects, v.Subject) && asked(req, v.Subject) {
			subjects = append(subjects, v.Subject)
		}
	}
	return page(req, subjects), err
}

// asked tells whether a request is about a subject. It is about all unless it names one.
func asked(req *http.Request, subject string) bool {
	one := req.URL.Query().Get("subject")
	return one == "" || one == subject
}

func (r *Registry) getVersionsByID(req *http.Request) (any, error) {
	versions, _, err := r.byID(req)
	all := []map[string]any{}
	for _, v := range versions {
		if asked(req, v.Subject) {
			all = append(all, map[string]any{"subject": v.Subject, "version": v.Version})
		}
	}
	return page(req, all), err
}
