package quality

import _ "embed" // openapi.json

//go:embed openapi.json
var openAPI []byte

// OpenAPI describes data quality, for the whole document.
func OpenAPI() []byte { return openAPI }
