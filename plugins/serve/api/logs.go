package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/platform/conf"
	"weir/internal/platform/httpx"
	"weir/plugins/store/lake"
)

// alsoKept names the stores of a log other than telemetry.
type alsoKept struct {
	log              event.Log
	raw, deadLetters string
}

func alsoField() *service.ConfigField {
	return service.NewObjectListField(apiFieldAlso,
		service.NewStringField(apiFieldLog).Description("The log: `user-events`."),
		service.NewStringField(apiFieldRaw).Secret().
			Description("Its store of events.").Example("file://data/user-raw"),
		service.NewStringField(apiFieldDead).Secret().
			Description("Its store of dead letters.").Example("file://data/user-dead-letter")).
		Description("Stores of other logs than telemetry's, which the parameter `log` of a request names: `/v1/events`, " +
			"`/v1/dead-letters`, `/v1/overview`, `/v1/proof` and `/v1/replays` are of either. `configs/people` has " +
			"events about people there.").
		Default([]any{}).Advanced()
}

func alsoFromParsed(parsed *service.ParsedConfig) (all []alsoKept, err error) {
	list, err := parsed.FieldObjectList(apiFieldAlso)
	if err != nil {
		return nil, err
	}
	for _, at := range list {
		var k alsoKept
		var name string
		if err := conf.Read(at, apiFieldLog, &name, apiFieldRaw, lake.URL(&k.raw), apiFieldDead,
			lake.URL(&k.deadLetters)); err != nil {
			return nil, err
		}
		if k.log, err = event.LogOf(name); err == nil && k.log.Name == event.LogTelemetry {
			err = errors.New("the stores of telemetry are the fields raw and dead_letters")
		}
		for _, other := range all {
			if err == nil && other.log.Name == k.log.Name {
				err = fmt.Errorf("%s is there twice", name)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", apiFieldAlso, err)
		}
		all = append(all, k)
	}
	return all, nil
}

// kept holds the opened stores of a log; either may be nil.
type kept struct {
	alsoKept
	events, letters *lake.Store
}

// openAlso returns the stores of all logs, telemetry first, opening those of the others.
func (in *input) openAlso(ctx context.Context, events, letters *lake.Store) ([]kept, error) {
	telemetry, err := event.LogOf("")
	if err != nil {
		return nil, err
	}
	all := []kept{{alsoKept{telemetry, in.conf.raw, in.conf.deadLetters}, events, letters}}
	for _, also := range in.conf.also {
		k := kept{alsoKept: also}
		if k.events, err = in.openLake(ctx, also.raw); err != nil {
			return nil, err
		}
		if k.letters, err = in.openLake(ctx, also.deadLetters); err != nil {
			return nil, err
		}
		all = append(all, k)
	}
	return all, nil
}

// namesOf returns the names of the logs, telemetry first.
func namesOf(logs []kept) (names []string) {
	for _, k := range logs {
		names = append(names, k.log.Name)
	}
	return names
}

// byLog maps paths to handlers by log name.
type byLog map[string]map[string]http.Handler

func (b byLog) put(path string, k kept, h http.Handler) {
	if b[path] == nil {
		b[path] = map[string]http.Handler{}
	}
	b[path][k.log.Name] = h
}

// into adds them to rooms, with handlers that answer 404 for telemetry stores that are not configured.
func (b byLog) into(rooms map[string]http.Handler) {
	for path, otherwise := range map[string]http.HandlerFunc{"/v1/events": noEvents, "/v1/dead-letters": noDeadLetters} {
		if b[path][event.LogTelemetry] == nil {
			b.put(path, kept{alsoKept: alsoKept{log: event.Log{Name: event.LogTelemetry}}}, otherwise)
		}
	}
	for path, of := range b {
		rooms[path] = ofLog(of)
	}
}

// ofLog dispatches by the parameter log, telemetry by default, and removes the parameter before calling the handler.
func ofLog(of map[string]http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := r.URL.Query()
		log, err := event.LogOf(v.Get("log"))
		if err == nil && len(v["log"]) > 1 {
			err = errors.New("given more than once")
		}
		if err != nil {
			httpx.Write(w, *httpx.Bad("log", "%v", err))
			return
		}
		h := of[log.Name]
		if h == nil {
			httpx.NotFound(w, "this api has nothing of the log "+log.Name+" here: see its field also")
			return
		}
		if v.Has("log") {
			v.Del("log")
			r = r.Clone(r.Context())
			r.URL.RawQuery = v.Encode()
		}
		h.ServeHTTP(w, r)
	})
}
