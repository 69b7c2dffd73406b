package retention

import _ "embed" // openapi.json

//go:embed openapi.json
var openAPI []byte

// OpenAPI returns this package's part of the OpenAPI document.
func OpenAPI() []byte { return openAPI }
