package retention

import _ "embed" // openapi.json

//go:embed openapi.json
var openAPI []byte

// OpenAPI describes the room's REST, for the whole document.
func OpenAPI() []byte { return openAPI }
