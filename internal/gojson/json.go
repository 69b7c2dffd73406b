// Package json stands in for another encoder of JSON, which the reader of MySQL's
// binary log takes for documents of MySQL's own form. weir does not read these, and Go
// has an encoder; the other one is eight packages of generated code. go.mod replaces the
// module by this folder.
package json

import "encoding/json"

// Marshal returns a value as JSON.
func Marshal(v any) ([]byte, error) { return json.Marshal(v) }
