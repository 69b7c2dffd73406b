// Package json replaces a JSON encoder that the reader of MySQL's binary log uses for values of MySQL's JSON type.
// weir does not read these, and the original is eight packages of generated code; encoding/json does the same. go.mod
// replaces the module by this folder.
package json

import "encoding/json"

// Marshal returns a value as JSON.
func Marshal(v any) ([]byte, error) { return json.Marshal(v) }
