package enrich

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/mileusna/useragent"
)

// agentRules is the version of the rules that read user agents. Answers depend on it, so it is part of the look-up's
// version.
const agentRules = "mileusna 1.3.5"

// agentMost bounds how much of a user agent is read, and agentNameMost how much of it an answer contains, because
// clients can send any text.
const (
	agentMost     = 1 << 10
	agentNameMost = 64
)

// client is what a user agent says about a browser or an app. Unknown members are left out.
type client struct {
	Browser        string `json:"browser,omitempty"`
	BrowserVersion string `json:"browser_version,omitempty"`
	OS             string `json:"os,omitempty"`
	OSVersion      string `json:"os_version,omitempty"`
	Model          string `json:"model,omitempty"`
	Kind           string `json:"kind,omitempty"` // bot, tablet, mobile or desktop
}

// ofAgents returns the device and program of a user agent, without a query.
func ofAgents(_ context.Context, key string) (answer, error) {
	read := useragent.Parse(key[:min(len(key), agentMost)])
	is := client{Browser: read.Name, BrowserVersion: read.Version, OS: read.OS, OSVersion: read.OSVersion,
		Model: read.Device}
	// the reader knows nothing and returns the text itself, which must not become the answer
	if is.Browser == read.String {
		is.Browser = ""
	}
	for _, text := range []*string{&is.Browser, &is.BrowserVersion, &is.OS, &is.OSVersion, &is.Model} {
		*text = strings.ToValidUTF8((*text)[:min(len(*text), agentNameMost)], "")
	}
	switch {
	case read.Bot, read.Name == useragent.Bingbot:
		is.Kind = "bot"
	case read.Tablet:
		is.Kind = "tablet"
	case read.Mobile:
		is.Kind = "mobile"
	case read.Desktop:
		is.Kind = "desktop"
	}
	if is.Browser == "" && is.OS == "" && is.Kind == "" {
		return answer{absent: true}, nil
	}
	raw, err := json.Marshal(is)
	return answer{raw: raw}, err
}
