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

// login is a token and how long it is good for.
type login struct {
	token     string
	ofRole    bool // by AppRole: a lapsed one is replaced
	renewable bool
	timer     *time.Timer // to renew it; nil: never
}

const (
	leastWait  = 100 * time.Millisecond
	retryRenew = 5 * time.Second
)

// token returns one to ask with: that of the environment, or one of a login by
// AppRole. It is renewed when half of its time is over, by a timer, so that a
// process that asks for nothing in between keeps it.
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

// drop forgets a token that was refused, and says whether another may do: one of
// a new login, or what is now in the file that holds it.
func (v *vault) drop(token string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.login.token == token {
		again := v.login.ofRole || strings.HasPrefix(v.env(envToken), inFile)
		v.forget()
		return again
	}
	return true // another caller has a newer one
}

// forget runs with the lock held.
func (v *vault) forget() {
	if v.login.timer != nil {
		v.login.timer.Stop()
	}
	v.login = login{}
}

// enter runs with the lock held.
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

// enterByToken takes the token of the environment. How long it is good for, the
// Vault is asked; one that may not ask is used as it is.
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

// take keeps the token of a login or of a renewal.
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

// until sets when the token is renewed; 0 seconds are for ever.
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

// refresh renews a token. One that cannot be renewed, or is near the end that
// nothing moves, makes way for a new login; while the Vault is away it is tried
// again, and whoever asks for a secret is told.
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

// setting reads a variable that may name a file; one that is kept in the Vault
// could not be read without it.
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
