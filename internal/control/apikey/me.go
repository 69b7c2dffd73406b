package apikey

import (
	"net/http"
	"slices"

	"weir/internal/platform/httpx"
)

// meJSON describes a caller and what they may do.
type meJSON struct {
	KeyID        *string  `json:"key_id"` // null for a person
	Person       *string  `json:"person"` // null for a key
	Roles        []Role   `json:"roles"`
	Scopes       []Scope  `json:"scopes"`
	Everywhere   bool     `json:"everywhere"` // may see all fleets
	Fleets       []string `json:"fleets"`     // where Everywhere is set, those that have keys
	DevicePrefix string   `json:"device_prefix"`
	Logs         []string `json:"logs"` // event logs that requests may name
}

// MeHandler answers GET /v1/me with who the caller is, what they may do, and the event logs that there are.
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
