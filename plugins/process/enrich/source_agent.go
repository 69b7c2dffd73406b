package enrich

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/mileusna/useragent"
)

// agentRules is the version of the rules by which clients are told, which decides
// answers: it is a part of the look-up's version.
const agentRules = "mileusna 1.3.5"

// agentMost bounds what is read of a user agent, and agentNameMost what an answer repeats
// of it: clients write what they like.
const (
	agentMost     = 1 << 10
	agentNameMost = 64
)

// client is what a user agent says of a browser or an app. What is not known is left out.
type client struct {
	Browser        string `json:"browser,omitempty"`
	BrowserVersion string `json:"browser_version,omitempty"`
	OS             string `json:"os,omitempty"`
	OSVersion      string `json:"os_version,omitempty"`
	Model          string `json:"model,omitempty"`
	Kind           string `json:"kind,omitempty"` // bot, tablet, mobile or desktop
}

// ofAgents tells what device and program a user agent is of, without asking anybody.
func ofAgents(_ context.Context, key string) (answer, error) {
	read := useragent.Parse(key[:min(len(key), agentMost)])
	is := client{Browser: read.Name, BrowserVersion: read.Version, OS: read.OS, OSVersion: read.OSVersion,
		Model: read.Device}
	if is.Browser == read.String { // nothing of it is known, and it is not to be repeated
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
