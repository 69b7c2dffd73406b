package registry

import "net/http"

// inForce returns the settings of a subject (mine), or the effective ones if it has none and the
// client asks for them, and the effective ones (all).
func (r *Registry) inForce(req *http.Request) (mine, all settings, err error) {
	subject := req.PathValue("subject")
	if mine, err = own(req.Context(), r.store.db, subject); err != nil {
		return mine, all, err
	}
	all, err = effective(req.Context(), r.store.db, subject)
	if subject == "" || flag(req, "defaultToGlobal") {
		mine = all
	}
	return mine, all, err
}

func (r *Registry) getConfig(req *http.Request) (any, error) {
	mine, all, err := r.inForce(req)
	if err == nil && mine.Level == "" && mine.Policy == "" {
		err = noConfig(req.PathValue("subject"))
	}
	return map[string]any{"compatibilityLevel": all.Level, "policy": all.Policy}, err
}

func noConfig(subject string) error {
	return fails(http.StatusNotFound, 40408, "Subject '%s' does not have subject-level compatibility configured", subject)
}

func (r *Registry) putConfig(req *http.Request) (any, error) {
	var c configRequest
	if err := body(req, &c); err != nil {
		return nil, err
	}
	subject := req.PathValue("subject")
	if subject != "" {
		if err := checkSubject(subject); err != nil {
			return nil, err
		}
	}
	if _, _, err := r.set(req.Context(), subject, c.apply); err != nil {
		return nil, err
	}
	now, err := effective(req.Context(), r.store.db, subject)
	return map[string]any{"compatibility": now.Level, "policy": now.Policy}, err
}

func (r *Registry) deleteConfig(req *http.Request) (any, error) {
	subject := req.PathValue("subject")
	before, _, err := r.set(req.Context(), subject, func(s *settings) error {
		if subject != "" && s.Level == "" && s.Policy == "" {
			return noConfig(subject)
		}
		s.Level, s.Policy = "", ""
		return nil
	})
	before = before.or(serverDefaults())
	return map[string]any{"compatibilityLevel": before.Level, "compatibility": before.Level, "policy": before.Policy}, err
}

func (r *Registry) getMode(req *http.Request) (any, error) {
	mine, all, err := r.inForce(req)
	if err == nil && mine.Mode == "" {
		err = noMode(req.PathValue("subject"))
	}
	return map[string]any{"mode": all.Mode}, err
}

func noMode(subject string) error {
	return fails(http.StatusNotFound, 40409, "Subject '%s' does not have subject-level mode configured", subject)
}

func (r *Registry) putMode(req *http.Request) (any, error) {
	var m struct {
		Mode string `json:"mode"`
	}
	if err := body(req, &m); err != nil {
		return nil, err
	}
	mode, err := parseMode(m.Mode)
	if err != nil {
		return nil, err
	}
	subject := req.PathValue("subject")
	if mode == modeImport && !flag(req, "force") {
		versions, err := versionsOf(req.Context(), r.store.db, subject, withoutDeleted)
		if err != nil {
			return nil, err
		}
		if len(versions) > 0 {
			return nil, fails(http.StatusUnprocessableEntity, 42205,
				"Cannot import since found existing subjects; add force=true to do so all the same")
		}
	}
	_, after, err := r.set(req.Context(), subject, func(s *settings) error { s.Mode = mode; return nil })
	return map[string]any{"mode": after.Mode}, err
}

func (r *Registry) deleteMode(req *http.Request) (any, error) {
	subject := req.PathValue("subject")
	before, _, err := r.set(req.Context(), subject, func(s *settings) error {
		if subject != "" && s.Mode == "" {
			return noMode(subject)
		}
		s.Mode = ""
		return nil
	})
	return map[string]any{"mode": before.or(serverDefaults()).Mode}, err
}
