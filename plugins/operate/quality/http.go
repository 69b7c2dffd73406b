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
	Repeats *int64       `json:"repeats"` // null: not known
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

// Handler answers GET /v1/quality?source=&schema=&from=&to= for the fleet that
// apikey.Authenticator put into the request, beside the same hours of the week before.
func Handler(store *Store, clock func() time.Time) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/quality", func(w http.ResponseWriter, r *http.Request) {
		v, bad := httpx.Parse(r, []string{"fleet", "source", "schema", "from", "to"}, nil)
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
		fleet, source, only := apikey.FleetFrom(r.Context()), v.Get("source"), v.Get("schema")
		now, then := newSums(), newSums()
		err := store.Hours(r.Context(), source, fleet, from, to, now.add)
		if err == nil {
			err = store.Hours(r.Context(), source, fleet, from.Add(-week), to.Add(-week), then.add)
		}
		if err != nil {
			httpx.Unavailable(w, "the control store", err)
			return
		}
		httpx.Answer(w, http.StatusOK, now.answer(then, from, to, only))
	})
	return mux
}

// sum is what some hours come to.
type sum struct {
	*Profile
	account
}

func (s *sum) add(h Hour) {
	s.Merge(h.Profile)
	s.Refused += h.Refused
	if h.Repeats < 0 || s.Repeats < 0 {
		s.Repeats = notKnown
	} else {
		s.Repeats += h.Repeats
	}
}

// sums are hours together.
type sums struct {
	all     *sum
	schemas map[string]*sum
	hours   map[time.Time]*sum
}

func newSums() *sums {
	return &sums{all: &sum{Profile: newProfile()}, schemas: map[string]*sum{}, hours: map[time.Time]*sum{}}
}

func (s *sums) add(h Hour) error {
	for _, into := range []*sum{s.all, at(s.schemas, h.Schema), at(s.hours, h.Hour)} {
		into.add(h)
	}
	return nil
}

func at[K comparable](of map[K]*sum, key K) *sum {
	s := of[key]
	if s == nil {
		s = &sum{Profile: newProfile()}
		of[key] = s
	}
	return s
}

// before is the profile of what sums are compared with; nil where there is nothing.
func before[K comparable](of map[K]*sum, key K) *Profile {
	if s := of[key]; s != nil {
		return s.Profile
	}
	return nil
}

// notKnown is of repeats: there are more than are counted.
const notKnown = -1

func (s *sums) answer(then *sums, from, to time.Time, only string) answer {
	a := answer{From: from, To: to, Events: s.all.Events, Refused: s.all.Refused, Schemas: []schemaView{},
		Hours: []hourView{}, Score: scoreOf(s.all.Profile, then.all.Profile, s.all.account)}
	if s.all.Repeats >= 0 {
		a.Repeats = &s.all.Repeats
	}
	for name, p := range s.schemas {
		if name == "" && p.Events == 0 || only != "" && name != only {
			continue
		}
		was := before(then.schemas, name)
		score := scoreOf(p.Profile, was, p.account)
		score.Valid = nil
		a.Schemas = append(a.Schemas, schemaView{Schema: name, Events: p.Events, Score: score.mean(),
			Fields: viewOf(p.Profile, was), More: p.More})
	}
	slices.SortFunc(a.Schemas, func(x, y schemaView) int { return cmp.Compare(x.Schema, y.Schema) })
	for hour, p := range s.hours {
		score := scoreOf(p.Profile, before(then.hours, hour.Add(-week)), p.account)
		a.Hours = append(a.Hours, hourView{hour, p.Events, score.Score})
	}
	slices.SortFunc(a.Hours, func(x, y hourView) int { return x.Hour.Compare(y.Hour) })
	return a
}
