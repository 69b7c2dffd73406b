package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"

	"weir/internal/control/apikey"
	"weir/internal/platform/httpx"
	"weir/internal/platform/sqldb"
	"weir/plugins/process/rule"
)

// rulesBodyMost is the maximum size of a request body in bytes.
const rulesBodyMost = 4 << 20

// ruleVersionsHandler serves the versions of rules:
//
//	GET  /v1/rule-versions                      all, with the one in force and those of partitions and fleets
//	POST /v1/rule-versions                      {"text": …, "comment": …}
//	GET  /v1/rule-versions/{version}            one, with its text
//	POST /v1/rule-versions/{version}/activate   0 is the file of the rules stream; {"fleets": …} for these alone
//	POST /v1/rule-versions/rollback
//
// The version in a path is its number.
func ruleVersionsHandler(ctx context.Context, db *sqldb.DB) (http.Handler, error) {
	versions, err := rule.OpenVersions(ctx, db)
	if err != nil {
		return nil, err
	}
	h := ruleVersions{versions}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/rule-versions", h.list)
	mux.HandleFunc("POST /v1/rule-versions", h.put)
	mux.HandleFunc("POST /v1/rule-versions/rollback", h.rollback)
	mux.HandleFunc("GET /v1/rule-versions/{version}", h.get)
	mux.HandleFunc("POST /v1/rule-versions/{version}/activate", h.activate)
	return mux, nil
}

type ruleVersions struct{ kept *rule.Versions }

func (h ruleVersions) list(w http.ResponseWriter, r *http.Request) {
	list, err := h.kept.List(r.Context())
	active, err2 := h.kept.Active(r.Context())
	partitions, err3 := h.kept.Partitions(r.Context())
	h.answer(w, http.StatusOK, map[string]any{"active": active, "versions": list, "partitions": partitions,
		"fleets": rule.Groups(active, partitions)}, errors.Join(err, err2, err3))
}

func (h ruleVersions) put(w http.ResponseWriter, r *http.Request) {
	var wish struct{ Text, Comment string }
	if err := httpx.Decode(w, r, rulesBodyMost, &wish); err != nil {
		httpx.Invalid(w, err.Error())
		return
	}
	v, err := h.kept.Put(r.Context(), wish.Text, actor(r), wish.Comment)
	h.answer(w, http.StatusCreated, v, err)
}

func (h ruleVersions) get(w http.ResponseWriter, r *http.Request) {
	if number, ok := versionNumber(w, r); ok {
		v, err := h.kept.Get(r.Context(), number)
		h.answer(w, http.StatusOK, v, err)
	}
}

func (h ruleVersions) activate(w http.ResponseWriter, r *http.Request) {
	number, ok := versionNumber(w, r)
	if !ok {
		return
	}
	var wish struct{ Fleets json.RawMessage } // null means no fleets, not all
	var fleets []string
	err := httpx.Decode(w, r, rulesBodyMost, &wish)
	if err == nil && wish.Fleets != nil {
		err = json.Unmarshal(wish.Fleets, &fleets)
	}
	if err != nil && !errors.Is(err, io.EOF) { // the body is optional
		httpx.Invalid(w, err.Error())
		return
	}
	var a rule.Activation
	if wish.Fleets != nil {
		a, err = h.kept.ActivateFor(r.Context(), number, fleets, actor(r))
	} else {
		a, err = h.kept.Activate(r.Context(), number, actor(r))
	}
	h.answer(w, http.StatusOK, a, err)
}

func (h ruleVersions) rollback(w http.ResponseWriter, r *http.Request) {
	a, err := h.kept.Rollback(r.Context(), actor(r))
	h.answer(w, http.StatusOK, a, err)
}

func versionNumber(w http.ResponseWriter, r *http.Request) (int64, bool) {
	number, err := strconv.ParseInt(r.PathValue("version"), 10, 64)
	if err != nil || number < 0 {
		httpx.Invalid(w, "a version is a number")
		return 0, false
	}
	return number, true
}

// nothingBefore is the problem of a rollback without a previous version.
func nothingBefore(err error) httpx.Problem {
	return httpx.Problem{Type: "nothing-before", Status: http.StatusConflict,
		Title: "There is nothing to go back to", Detail: err.Error()}
}

// actor names the caller for people.
func actor(r *http.Request) string {
	key, _ := apikey.KeyFrom(r.Context())
	if key.Person != nil {
		return key.Person.Name
	}
	return "key " + key.ID
}

func (h ruleVersions) answer(w http.ResponseWriter, status int, body any, err error) {
	var wrong *rule.ProblemsError
	switch {
	case err == nil:
		httpx.Answer(w, status, body)
	case errors.As(err, &wrong):
		httpx.Write(w, httpx.Problem{Type: "invalid-rules", Status: http.StatusUnprocessableEntity,
			Title: "The rules are wrong", Detail: wrong.Error()})
	case errors.Is(err, rule.ErrNoVersion):
		httpx.NotFound(w, err.Error())
	case errors.Is(err, rule.ErrFleets):
		httpx.Invalid(w, err.Error())
	case errors.Is(err, rule.ErrCanary):
		httpx.Write(w, httpx.Problem{Type: "for-some-fleets", Status: http.StatusConflict,
			Title: "Another version is in force for some fleets", Detail: err.Error()})
	case errors.Is(err, rule.ErrNoneBefore):
		httpx.Write(w, nothingBefore(err))
	default:
		httpx.Unavailable(w, "the store of rules", err)
	}
}
