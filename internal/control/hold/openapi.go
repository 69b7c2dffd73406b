package hold

import _ "embed" // openapi.json

//go:embed openapi.json
var openAPI []byte

// OpenAPI describes the administration of holds, for the whole document.
func OpenAPI() []byte { return openAPI }
