package cli

import (
	"bytes"
	"encoding/json"
	"io"

	"weir/internal/platform/text"
)

// printJSON prints a value as indented JSON.
func printJSON(to io.Writer, v any) error {
	raw, err := text.JSON(v)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, append(raw, '\n'), "", "  "); err != nil {
		return err
	}
	_, err = b.WriteTo(to)
	return err
}
