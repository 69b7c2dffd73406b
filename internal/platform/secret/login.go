package secret

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// login is a token with its renewal.
type login struct {
	token     string
	ofRole    bool // from an AppRole login: can be replaced by a new one
	renewable bool
	timer     *time.Timer // renews it; nil: never
}

const (
	leastWait  = 100 * time.Millisecond
	retryRenew = 5 * time.Second
)

// token returns a valid token: the environment's, or one from an AppRole login. A timer renews it when half of its
// time is over, so that it stays valid in a process that reads no secrets meanwhile.
func (v *vault) token(ctx context.Context) (string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.login.token == "" {
		if err := v.enter(ctx); err != nil {
			return "", err
		}
	}
	return v.login.token, nil
}

// drop forgets a rejected token and tells whether a retry may succeed: with a new login, or with a token newly read
// from its file.
func (v *vault) drop(token string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.login.token == token {
		again := v.login.ofRole || strings.HasPrefix(v.env(envToken), inFile)
		v.forget()
		return again
	}
	return true // another caller has replaced it
}

// forget drops the login. The caller holds mu.
func (v *vault) forget() {
	if v.login.timer != nil {
		v.login.timer.Stop()
	}
	v.login = login{}
}

// enter logs in. The caller holds mu.
func (v *vault) enter(ctx context.Context) error {
	role, err := v.setting(envRole)
	if err != nil {
		return err
	}
	if role == "" {
		return v.enterByToken(ctx)
	}
	id, err := v.setting(envSecret)
	if err != nil {
		return err
	}
	body, err := v.ask(ctx, http.MethodPost, "auth/approle/login", "", map[string]string{"role_id": role, "secret_id": id})
	if err != nil {
		var refused *refusedError
		if errors.As(err, &refused) && (refused.status == http.StatusBadRequest || refused.status == http.StatusForbidden) {
			return fmt.Errorf("logging in to the Vault: it refuses the AppRole: check %s and %s", envRole, envSecret)
		}
		return fmt.Errorf("logging in to the Vault: %w", err)
	}
	return v.take(body, true, "")
}

// enterByToken uses the environment's token. It asks the Vault for the token's lifetime, and uses the token as it is
// if that is not allowed.
func (v *vault) enterByToken(ctx context.Context) error {
	token, err := v.setting(envToken)
	if err != nil {
		return err
	}
	if token == "" {
		return fmt.Errorf("logging in to the Vault: neither %s nor %s is set", envToken, envRole)
	}
	if strings.ContainsFunc(token, control) {
		return fmt.Errorf("logging in to the Vault: %s holds a line break or the like", envToken)
	}
	v.login = login{token: token}
	body, err := v.ask(ctx, http.MethodGet, "auth/token/lookup-self", token, nil)
	var about struct {
		Data struct {
			TTL       int64 `json:"ttl"`
			Renewable bool  `json:"renewable"`
		} `json:"data"`
	}
	if err == nil && json.Unmarshal(body, &about) == nil {
		v.until(about.Data.TTL, about.Data.Renewable)
	}
	return nil
}

// take stores the token from a login or a renewal; before is the renewed token.
func (v *vault) take(body []byte, ofRole bool, before string) error {
	var answer struct {
		Auth struct {
			Token     string `json:"client_token"`
			Seconds   int64  `json:"lease_duration"`
			Renewable bool   `json:"renewable"`
		} `json:"auth"`
	}
	if json.Unmarshal(body, &answer) != nil || answer.Auth.Token == "" && before == "" {
		return errors.New("logging in to the Vault: its answer holds no token")
	}
	token := answer.Auth.Token
	if token == "" {
		token = before
	}
	v.forget()
	v.login = login{token: token, ofRole: ofRole}
	v.until(answer.Auth.Seconds, answer.Auth.Renewable)
	return nil
}

// until schedules the renewal; 0 seconds mean that the token does not expire.
func (v *vault) until(seconds int64, renewable bool) {
	if seconds <= 0 {
		return
	}
	v.login.renewable = renewable
	v.later(max(time.Duration(seconds)*time.Second/2, leastWait))
}

func (v *vault) later(wait time.Duration) {
	token := v.login.token
	v.login.timer = time.AfterFunc(wait, func() { v.refresh(token) })
}

// refresh renews a token. A token of AppRole that is not renewable, or whose renewal is refused, is dropped so that
// the next caller logs in anew; when the Vault does not answer, the renewal is retried.
func (v *vault) refresh(token string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.login.token != token {
		return
	}
	if !v.login.renewable {
		if v.login.ofRole {
			v.forget()
		}
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	body, err := v.ask(ctx, http.MethodPost, "auth/token/renew-self", token, struct{}{})
	var refused *refusedError
	switch {
	case err == nil:
		if v.take(body, v.login.ofRole, token) != nil {
			v.forget()
		}
	case errors.As(err, &refused) && refused.status/100 == 4 && refused.status != http.StatusTooManyRequests:
		if v.login.ofRole {
			v.forget()
		}
	default:
		v.later(retryRenew)
	}
}

// setting reads a variable, which may name a file with its content. It cannot refer to the Vault itself.
func (v *vault) setting(name string) (string, error) {
	text := v.env(name)
	path, is := strings.CutPrefix(text, inFile)
	if !is {
		return text, nil
	}
	text, err := file(path)
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", name, err)
	}
	return text, nil
}
