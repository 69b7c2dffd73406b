// Package schemas carries the shipped schema files inside the binary, so that
// a fresh registry can be seeded wherever the binary runs.
package schemas

import "embed"

//go:embed */*.json
var files embed.FS

// FS returns the files: SUBJECT/vN.json.
func FS() embed.FS { return files }
