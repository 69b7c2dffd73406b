package apikey

import (
	"net/http"
	"slices"

	"weir/internal/platform/httpx"
)

// meJSON is what a caller is and may do.
type meJSON struct {
	KeyID        *string  `json:"key_id"` // null of a person
	Person       *string  `json:"person"` // null of a key
	Roles        []Role   `json:"roles"`
	Scopes       []Scope  `json:"scopes"`
	Everywhere   bool     `json:"everywhere"` // of all fleets
	Fleets       []string `json:"fleets"`     // everywhere: those that have keys
	DevicePrefix string   `json:"device_prefix"`
	Logs         []string `json:"logs"` // of events, that requests may name
}

// MeHandler answers GET /v1/me: who asks, what they may do, and which logs of events
// there are.
func MeHandler(store *Store, logs []string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, ok := KeyFrom(r.Context())
		if !ok {
			httpx.NotFound(w, "nobody asks")
			return
		}
		me := meJSON{Roles: []Role{}, Scopes: append([]Scope{}, key.Scopes...), Everywhere: key.Everywhere(),
			Fleets: []string{}, DevicePrefix: key.DevicePrefix, Logs: logs}
		switch {
		case key.Person != nil:
			me.Person, me.Roles = &key.Person.Name, append(me.Roles, key.Person.Roles...)
			me.Fleets = append(me.Fleets, key.Person.Fleets...)
		default:
			me.KeyID, me.Fleets = &key.ID, append(me.Fleets, key.Fleet)
		}
		if me.Everywhere {
			keys, err := store.List(r.Context(), "")
			if err != nil {
				httpx.Unavailable(w, "the key store", err)
				return
			}
			me.Fleets = me.Fleets[:0]
			for _, k := range keys {
				if k.Fleet != "" {
					me.Fleets = append(me.Fleets, k.Fleet)
				}
			}
		}
		slices.Sort(me.Fleets)
		me.Fleets = slices.Compact(me.Fleets)
		httpx.Answer(w, http.StatusOK, me)
	})
}
