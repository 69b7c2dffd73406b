package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"weir/internal/control/apikey"
	"weir/internal/event"
	"weir/internal/platform/httpx"
	"weir/internal/platform/sqldb"
	"weir/plugins/operate/recount"
	"weir/plugins/process/rule"
	"weir/plugins/store/lake"
	"weir/plugins/store/raw"
)

const (
	rulesTimeout = 30 * time.Second
	rulesPage    = 100
	rulesMost    = 1000
)

// rulesHandler answers GET /v1/rules/{name}/results?device=&from=&to=&limit=&cursor= for the fleet of the request:
// the newest revision of each result whose window ends in the range, latest first. The default range is from a day
// ago to a day ahead, since a window may end in the future.
func rulesHandler(db *sqldb.DB, events rule.Events, clock func() time.Time) http.Handler {
	mux := http.NewServeMux()
	if events != nil {
		mux.Handle("GET /v1/rules/{name}/results/{id}/events", lineageHandler(db, events))
	} else {
		mux.HandleFunc("GET /v1/rules/{name}/results/{id}/events", noEvents)
	}
	mux.HandleFunc("GET /v1/rules/{name}/results", func(w http.ResponseWriter, r *http.Request) {
		q, hash, bad := rulesQuery(r, clock())
		if bad != nil {
			httpx.Write(w, *bad)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), rulesTimeout)
		defer cancel()
		results, after, err := rule.Results(ctx, db, q)
		if err != nil {
			httpx.Unavailable(w, "the store of rules", err)
			return
		}
		var next *string
		if after != nil {
			c := httpx.Cursor(*after, q.From.UnixMicro(), q.To.UnixMicro(), hash)
			next = &c
		}
		httpx.Answer(w, http.StatusOK, map[string]any{"results": results, "next": next})
	})
	return mux
}

// forRules returns the events of the raw store in the form that rules read; nil without a store.
func (in *input) forRules(store *lake.Store) rule.Events {
	if store == nil {
		return nil
	}
	return &recount.ForRules{Reader: raw.NewReader(store), Upcast: in.conf.upcast, Known: true}
}

// lineageHandler answers GET /v1/rules/{name}/results/{id}/events?device=: the events behind a result of the
// request's fleet.
func lineageHandler(db *sqldb.DB, events rule.Events) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, bad := httpx.Parse(r, []string{"fleet"}, []string{"device"})
		var devices []string
		if bad == nil {
			devices, bad = httpx.Devices(v, event.ValidDevice)
		}
		fleet := apikey.FleetFrom(r.Context())
		if bad == nil && fleet == "" {
			bad = httpx.NoFleet()
		}
		if bad != nil {
			httpx.Write(w, *bad)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), rulesTimeout)
		defer cancel()
		found, err := rule.Trace(ctx, db, rule.Traced{Fleet: fleet, Rule: r.PathValue("name"), ID: r.PathValue("id"),
			Devices: devices}, events)
		switch {
		case errors.Is(err, rule.ErrNoResult):
			httpx.NotFound(w, err.Error())
		case errors.Is(err, rule.ErrNoLineage):
			httpx.Write(w, httpx.Problem{Type: "no-lineage", Status: http.StatusGone, Title: "Its rules are not kept",
				Detail: err.Error()})
		case err != nil:
			httpx.Unavailable(w, "the store of rules, or of raw events,", err)
		default:
			httpx.Answer(w, http.StatusOK, found)
		}
	})
}

func rulesQuery(r *http.Request, now time.Time) (q rule.Query, hash uint32, bad *httpx.Problem) {
	v, bad := httpx.Parse(r, []string{"fleet", "from", "to", "limit", "cursor"}, []string{"device"})
	if bad != nil {
		return q, 0, bad
	}
	q.Fleet, q.Rule = apikey.FleetFrom(r.Context()), r.PathValue("name")
	if q.Fleet == "" {
		return q, 0, httpx.NoFleet()
	}
	if q.Devices, bad = httpx.Devices(v, event.ValidDevice); bad != nil {
		return q, 0, bad
	}
	if q.Limit, bad = httpx.Limit(v, rulesPage, rulesMost); bad != nil {
		return q, 0, bad
	}
	if q.From, q.To, bad = httpx.Range(v, now.Add(24*time.Hour), 48*time.Hour); bad != nil {
		return q, 0, bad
	}
	hash = httpx.Hash(v, q.Fleet+"\x00"+q.Rule, "device", "from", "to")
	after, from, to, bad := httpx.Resume[rule.After](v, hash)
	if bad != nil {
		return q, 0, bad
	}
	if after != nil {
		q.After, q.From, q.To = after, time.UnixMicro(from), time.UnixMicro(to)
	}
	return q, hash, nil
}
