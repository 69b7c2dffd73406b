package quality

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"weir/internal/control/apikey"
	"weir/internal/platform/httpx"
)

const (
	rangeStandard = 24 * time.Hour
	rangeMost     = 31 * 24 * time.Hour
	week          = 7 * 24 * time.Hour
)

// answer is what GET /v1/quality tells.
type answer struct {
	From    time.Time    `json:"from"` // whole hours
	To      time.Time    `json:"to"`
	Events  int64        `json:"events"`
	Refused int64        `json:"refused"`
	Score   score        `json:"score"`
	Schemas []schemaView `json:"schemas"`
	Hours   []hourView   `json:"hours"`
}

type schemaView struct {
	Schema string      `json:"schema"`
	Events int64       `json:"events"`
	Score  score       `json:"score"` // valid is null: what is refused has no schema
	Fields []fieldView `json:"fields"`
	More   bool        `json:"more_fields"`
}

type hourView struct {
	Hour   time.Time `json:"hour"`
	Events int64     `json:"events"`
	Score  *float64  `json:"score"`
}

// Handler answers GET /v1/quality?schema=&from=&to= for the fleet that
// apikey.Authenticator put into the request, beside the same hours of the week before.
func Handler(store *Store, clock func() time.Time) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/quality", func(w http.ResponseWriter, r *http.Request) {
		v, bad := httpx.Parse(r, []string{"fleet", "schema", "from", "to"}, nil)
		var from, to time.Time
		if bad == nil {
			from, to, bad = httpx.Range(v, clock(), rangeStandard)
		}
		if bad == nil && to.Sub(from) > rangeMost {
			bad = httpx.Bad("from", "a range of more than %d days: ask for a shorter one", int(rangeMost.Hours()/24))
		}
		if bad != nil {
			httpx.Write(w, *bad)
			return
		}
		from, to = from.UTC().Truncate(time.Hour), to.UTC().Add(time.Hour-1).Truncate(time.Hour)
		fleet, only := apikey.FleetFrom(r.Context()), v.Get("schema")
		now, then := newSums(), newSums()
		err := store.Hours(r.Context(), fleet, from, to, now.add)
		if err == nil {
			err = store.Hours(r.Context(), fleet, from.Add(-week), to.Add(-week), then.add)
		}
		if err != nil {
			httpx.Unavailable(w, "the control store", err)
			return
		}
		httpx.Answer(w, http.StatusOK, now.answer(then, from, to, only))
	})
	return mux
}

// sums are hours together.
type sums struct {
	all     *Profile
	refused int64
	schemas map[string]*Profile
	hours   map[time.Time]*Profile
	bad     map[time.Time]int64
}

func newSums() *sums {
	return &sums{all: newProfile(), schemas: map[string]*Profile{}, hours: map[time.Time]*Profile{},
		bad: map[time.Time]int64{}}
}

func (s *sums) add(h Hour) error {
	s.refused += h.Refused
	s.bad[h.Hour] += h.Refused
	s.all.Merge(h.Profile)
	for _, into := range []**Profile{ref(s.schemas, h.Schema), ref(s.hours, h.Hour)} {
		(*into).Merge(h.Profile)
	}
	return nil
}

func ref[K comparable](of map[K]*Profile, key K) **Profile {
	p := of[key]
	if p == nil {
		p = newProfile()
		of[key] = p
	}
	return &p
}

// notKnown is of repeats: objects say of which records, and not of which fleet.
const notKnown = -1

func (s *sums) answer(then *sums, from, to time.Time, only string) answer {
	a := answer{From: from, To: to, Events: s.all.Events, Refused: s.refused, Schemas: []schemaView{}, Hours: []hourView{},
		Score: scoreOf(s.all, then.all, account{Refused: s.refused, Repeats: notKnown})}
	for name, p := range s.schemas {
		if name == "" && p.Events == 0 || only != "" && name != only {
			continue
		}
		before := then.schemas[name]
		score := scoreOf(p, before, account{Repeats: notKnown})
		score.Valid = nil
		a.Schemas = append(a.Schemas, schemaView{Schema: name, Events: p.Events, Score: score.mean(),
			Fields: viewOf(p, before), More: p.More})
	}
	slices.SortFunc(a.Schemas, func(x, y schemaView) int { return cmp.Compare(x.Schema, y.Schema) })
	for hour, p := range s.hours {
		a.Hours = append(a.Hours, hourView{hour, p.Events,
			scoreOf(p, then.hours[hour.Add(-week)], account{Refused: s.bad[hour], Repeats: notKnown}).Score})
	}
	slices.SortFunc(a.Hours, func(x, y hourView) int { return x.Hour.Compare(y.Hour) })
	return a
}
