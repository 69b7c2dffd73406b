package secret

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ref identifies a field of a secret in the Vault. It is not secret itself.
type ref struct{ path, field string }

func (r ref) String() string { return inVault + r.path + "#" + r.field }

// parseRef parses vault://PATH#FIELD. PATH is that of Vault's HTTP API, which in version 2 of the key-value store
// contains data: secret/data/weir/smtp.
func parseRef(text string) (ref, error) {
	path, field, ok := strings.Cut(strings.TrimPrefix(text, inVault), "#")
	switch {
	case !ok || path == "" || field == "":
		return ref{}, errors.New("reading where a secret is: expected vault://PATH#FIELD, such as " +
			"vault://secret/data/weir/smtp#password")
	case strings.ContainsAny(path, "?%\\") || strings.ContainsFunc(text, control):
		return ref{}, errors.New("reading where a secret is: the path of vault://PATH#FIELD is of names and slashes, " +
			"without '?', '%' and the like")
	case slices.ContainsFunc(strings.Split(path, "/"), nowhere):
		return ref{}, fmt.Errorf("reading where a secret is: the path of vault://%s#%s has an empty name, or '.' or '..'",
			path, field)
	}
	return ref{path, field}, nil
}

func control(r rune) bool { return r < ' ' || r == 0x7f }

func nowhere(name string) bool { return name == "" || name == "." || name == ".." }
