// Package analytics answers questions about what people do: it adds up what the
// rules of configs/analytics.yaml told, and what they have open. It keeps
// nothing but answers of the last second: sums of funnels lie with the results.
package analytics

import _ "embed" // openapi.json

//go:embed openapi.json
var openAPI []byte

// OpenAPI describes the room's part of the API.
func OpenAPI() []byte { return openAPI }
