package api

import (
	_ "embed" // openapi.json
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
)

//go:embed openapi.json
var ownOpenAPI []byte

// describe merges the rooms' OpenAPI documents into one: paths and components
// of all of them, the rest of the first. No two may say the same name.
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
	whole["security"] = []any{map[string]any{"bearer": []any{}}, map[string]any{"apiKey": []any{}}}
	return json.MarshalIndent(whole, "", "  ")
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
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(document) // the client has gone
	})
}
