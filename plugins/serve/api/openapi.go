package api

import (
	_ "embed" // openapi.json
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"weir/internal/control/apikey"
	"weir/internal/platform/httpx"
)

//go:embed openapi.json
var ownOpenAPI []byte

//go:embed openapi_registry.json
var registryOpenAPI []byte

// describe merges OpenAPI documents: the paths and components of all, and everything else from the first. Names must
// not repeat, since the later one wins.
func describe(documents ...[]byte) ([]byte, error) {
	var whole map[string]any
	for _, raw := range documents {
		var d map[string]any
		if err := json.Unmarshal(raw, &d); err != nil {
			return nil, fmt.Errorf("merging OpenAPI documents: %w", err)
		}
		if whole == nil {
			whole = d
			continue
		}
		merge(whole, d, "paths")
		for kind := range object(d, "components") {
			merge(object(whole, "components"), object(d, "components"), kind)
		}
	}
	if err := sayScopes(object(whole, "paths")); err != nil {
		return nil, err
	}
	return json.MarshalIndent(whole, "", "  ")
}

// sayScopes adds the scope that apikey.Routes requires to each operation's security.
func sayScopes(paths map[string]any) error {
	mux, scopes := http.NewServeMux(), map[string]apikey.Scope{}
	for _, r := range apikey.Routes() {
		if r.Server == apikey.API {
			mux.HandleFunc(r.Pattern(), http.NotFound)
			scopes[r.Pattern()] = r.Scope
		}
	}
	for path := range paths {
		for method, o := range object(paths, path) {
			operation, ok := o.(map[string]any)
			if !ok { // the parameters of the path
				continue
			}
			like := &url.URL{Path: strings.NewReplacer("{", "", "}", "").Replace(path)}
			_, pattern := mux.Handler(&http.Request{Method: strings.ToUpper(method), URL: like})
			roles := []any{}
			switch scope, known := scopes[pattern]; {
			case !known:
				return fmt.Errorf("describing the api: apikey.Routes does not know %s %s", method, path)
			case scope == apikey.Anyone:
				operation["security"] = []any{}
				continue
			case scope != apikey.AnyKey:
				roles = append(roles, scope)
			}
			operation["security"] = []any{map[string]any{"bearer": roles}, map[string]any{"apiKey": roles}}
		}
	}
	return nil
}

func merge(to, from map[string]any, name string) {
	if to[name] == nil {
		to[name] = map[string]any{}
	}
	maps.Copy(object(to, name), object(from, name))
}

func object(of map[string]any, name string) map[string]any {
	m, _ := of[name].(map[string]any)
	return m
}

func serveDocument(document []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		httpx.Document(w, document)
	})
}
