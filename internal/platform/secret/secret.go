// Package secret resolves settings that may be kept outside of a config: in a
// file, or in a Vault (HashiCorp's, or OpenBao).
package secret

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
)

const (
	inFile  = "file://"
	inVault = "vault://"
)

// process is the login of this process to the Vault that its environment names.
// It is made when the first secret is asked for.
var process = sync.OnceValue(func() *vault { return newVault(os.Getenv) })

// Value returns a setting that may be kept elsewhere: "file:///run/secrets/x" is
// the content of that file without the white space around it, and
// "vault://PATH#FIELD" a field of a secret in the Vault that VAULT_ADDR names,
// exactly as it is there. Both are read each time, so that they can be rotated.
// Any other setting is its own value. The error names the file or the path,
// never what is there.
func Value(ctx context.Context, setting string) (string, error) {
	return value(ctx, setting, process)
}

func value(ctx context.Context, setting string, in func() *vault) (string, error) {
	if path, ok := strings.CutPrefix(setting, inFile); ok {
		return file(path)
	}
	if !strings.HasPrefix(setting, inVault) {
		return setting, nil
	}
	ref, err := parseRef(setting)
	if err != nil {
		return "", err
	}
	return in().value(ctx, ref)
}

func file(path string) (string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("reading a secret: %w", err)
	}
	return strings.TrimSpace(string(raw)), nil
}

// Kept is whether a setting says where a secret is, instead of being it.
func Kept(setting string) bool {
	return strings.HasPrefix(setting, inFile) || strings.HasPrefix(setting, inVault)
}

// Check says what is wrong with a setting, without asking for its value.
func Check(setting string) error {
	if !strings.HasPrefix(setting, inVault) {
		return nil
	}
	_, err := parseRef(setting)
	return err
}

// Password takes the password out of a store's URL, when its query says where it
// is kept: "postgres://weir@db/weir?password=vault://secret/data/weir/pg#password".
// It returns the URL without it, and where it is; or the URL as it was, and "".
func Password(rawURL string) (without, setting string, err error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return rawURL, "", nil // whoever opens it says what is wrong
	}
	query := u.Query()
	setting = query.Get("password")
	if !Kept(setting) {
		return rawURL, "", nil
	}
	if u.Fragment != "" { // of the reference: no store's URL has one
		setting += "#" + u.Fragment
	}
	if u.User != nil {
		if _, twice := u.User.Password(); twice {
			return rawURL, "", errors.New("the URL holds a password, and says where one is kept: leave one of them out")
		}
	}
	if err := Check(setting); err != nil {
		return rawURL, "", err
	}
	query.Del("password")
	u.RawQuery, u.Fragment, u.RawFragment = query.Encode(), "", ""
	return u.String(), setting, nil
}
