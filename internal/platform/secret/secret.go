// Package secret resolves settings that are kept outside the config: in a file or in a Vault (HashiCorp's or
// OpenBao).
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

// process returns this process's client of the Vault that the environment names, created on first use.
var process = sync.OnceValue(func() *vault { return newVault(os.Getenv) })

// Value resolves a setting: "file:///run/secrets/x" to the content of that file without surrounding white space, and
// "vault://PATH#FIELD" to a field of a secret in the Vault that VAULT_ADDR names, unchanged. Both are read on every
// call, so that they can be rotated. Any other setting is returned as it is. Errors name the file or path, never its
// content.
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

// Kept tells whether a setting refers to a secret instead of containing it.
func Kept(setting string) bool {
	return strings.HasPrefix(setting, inFile) || strings.HasPrefix(setting, inVault)
}

// Check validates a setting without reading its value.
func Check(setting string) error {
	if !strings.HasPrefix(setting, inVault) {
		return nil
	}
	_, err := parseRef(setting)
	return err
}

// Password splits a store's URL whose query refers to its password:
// "postgres://weir@db/weir?password=vault://secret/data/weir/pg#password". It returns the URL without the parameter,
// and the reference; or the unchanged URL and "" when there is no reference.
func Password(rawURL string) (without, setting string, err error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return rawURL, "", nil // opening it reports what is wrong
	}
	query := u.Query()
	setting = query.Get("password")
	if !Kept(setting) {
		return rawURL, "", nil
	}
	if u.Fragment != "" { // the reference's field: store URLs have no fragment
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
