package erasure

import _ "embed" // openapi.json

//go:embed openapi.json
var openAPI string

// OpenAPI returns the OpenAPI 3.1 description of Handler, as JSON.
func OpenAPI() []byte { return []byte(openAPI) }
