package hold

import _ "embed" // openapi.json

//go:embed openapi.json
var openAPI []byte

// OpenAPI describes the endpoints of holds, to be merged into the API's document.
func OpenAPI() []byte { return openAPI }
