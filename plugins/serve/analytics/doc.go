// Package analytics answers queries about user behaviour: it adds up the results of the rules in
// configs/analytics.yaml, and their open windows. It stores nothing, and caches answers for a second; sums of funnels
// are stored with the results.
package analytics

import _ "embed" // openapi.json

//go:embed openapi.json
var openAPI []byte

// OpenAPI describes the room's part of the API.
func OpenAPI() []byte { return openAPI }
