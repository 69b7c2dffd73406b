package rollup

import _ "embed" // openapi.json

//go:embed openapi.json
var openAPI string

// OpenAPI is the OpenAPI 3.1 description of what Handler answers, as JSON.
func OpenAPI() []byte { return []byte(openAPI) }
