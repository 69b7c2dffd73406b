package channel

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"weir/internal/platform/conf"
	"weir/internal/platform/flow"
	"weir/internal/platform/httpx"
	"weir/internal/platform/secret"

	"github.com/redpanda-data/benthos/v4/public/service"
)

const (
	webhookFieldURL     = "url"
	webhookFieldHeaders = "headers"
	webhookFieldSecret  = "secret"
	webhookFieldTimeout = "timeout"
)

func webhookSpec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Version("1.0.0").
		Categories("Weir").
		Summary("Posts each message to a URL that may be a secret itself, signed if wished.").
		Description(`
What sets it apart from `+"`http_client`"+`: no error or log line ever holds the URL, it tells `+"`alert_notices`"+` when to try again (`+"`Retry-After`"+`) and when not to (a 4xx other than 408, 425 and 429), it follows no redirects, and it signs.

With a secret, each request has the header `+"`Weir-Signature: t=TIME,v1=SIGNATURE`"+`: TIME in Unix seconds, SIGNATURE the hex HMAC-SHA256, by the secret, of TIME, a dot and the body. A receiver checks the signature, and that TIME is recent.

The URL and the secret may be kept in a file each, `+"`file:///run/secrets/webhook`"+`, or in a Vault, `+"`vault://secret/data/weir/webhook#url`"+`: they are read for each request.`).
		Field(service.NewStringField(webhookFieldURL).
			Description("Where to post to, or where that is kept: a file, or a Vault.").
			Secret().Example("${WEIR_NOTIFY_WEBHOOK_URL:}")).
		Field(service.NewInterpolatedStringMapField(webhookFieldHeaders).
			Description("Headers of the request.").
			Default(map[string]any{"Content-Type": "application/json"})).
		Field(service.NewStringField(webhookFieldSecret).
			Description("The secret to sign with, or where it is kept: a file, or a Vault; without it, requests are "+
				"not signed.").
			Default("").Secret().Example("file:///run/secrets/webhook-hmac")).
		Field(service.NewDurationField(webhookFieldTimeout).
			Description("How long a request may take.").
			Default("10s")).
		Example("A signed webhook", "The receiver knows by the notice's id what it has seen before.", `
output:
  alert_webhook:
    url: ${WEIR_NOTIFY_WEBHOOK_URL:}
    secret: ${WEIR_NOTIFY_WEBHOOK_SECRET:}
    headers:
      Content-Type: application/json
      Idempotency-Key: ${! json("notice_id") }
`)
}

// webhook implements the output alert_webhook.
type webhook struct {
	url     string
	secret  string
	headers map[string]*service.InterpolatedString
	client  *http.Client
	now     func() time.Time
}

func newWebhook(parsed *service.ParsedConfig) (*webhook, error) {
	w := &webhook{now: time.Now, client: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     http.DefaultTransport.(*http.Transport).Clone(),
	}}
	return w, conf.Checked(parsed, conf.Read(parsed, webhookFieldURL, conf.Secret(&w.url),
		webhookFieldSecret, conf.Secret(&w.secret), webhookFieldTimeout, conf.Positive(&w.client.Timeout),
		webhookFieldHeaders, &w.headers))
}

// Connect does nothing.
func (w *webhook) Connect(context.Context) error { return nil }

// Write returns nil when the receiver answered with 2xx.
func (w *webhook) Write(ctx context.Context, msg *service.Message) error {
	req, err := w.request(ctx, msg)
	if err != nil {
		return err
	}
	res, err := w.client.Do(req)
	if err != nil {
		return &flow.Failure{Text: "posting a notice: " + httpx.WithoutURL(err)}
	}
	body, _ := io.ReadAll(io.LimitReader(res.Body, 300))
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20)) // so that the connection can be reused
	_ = res.Body.Close()
	if res.StatusCode/100 == 2 {
		return nil
	}
	f := &flow.Failure{Text: fmt.Sprintf("posting a notice: the receiver answered %s", res.Status),
		After: httpx.RetryAfter(res, w.now())}
	if text := strings.TrimSpace(string(body)); text != "" {
		f.Text += ": " + strings.ToValidUTF8(text, "?")
	}
	switch code := res.StatusCode; {
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly, code == http.StatusTooManyRequests, code >= 500:
	default:
		f.Permanent = true
	}
	return f
}

func (w *webhook) request(ctx context.Context, msg *service.Message) (*http.Request, error) {
	body, err := msg.AsBytes()
	if err != nil {
		return nil, fmt.Errorf("posting a notice: %w", err)
	}
	target, err := secret.Value(ctx, w.url)
	if err != nil {
		return nil, err
	}
	signing, err := secret.Value(ctx, w.secret)
	if err != nil {
		return nil, err
	}
	if u, err := url.Parse(target); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, &flow.Failure{Text: "posting a notice: the URL is not set, or is no http:// or https:// URL"}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return nil, &flow.Failure{Text: "posting a notice: the URL cannot be used"}
	}
	for name, value := range w.headers {
		v, err := value.TryString(msg)
		if err != nil {
			return nil, fmt.Errorf("writing header %s: %w", name, err)
		}
		req.Header.Set(name, v)
	}
	req.Header.Set("User-Agent", "weir")
	if signing != "" {
		at := strconv.FormatInt(w.now().Unix(), 10)
		mac := hmac.New(sha256.New, []byte(signing))
		mac.Write([]byte(at + "."))
		mac.Write(body)
		req.Header.Set("Weir-Signature", "t="+at+",v1="+hex.EncodeToString(mac.Sum(nil)))
	}
	return req, nil
}

// Close closes idle connections.
func (w *webhook) Close(context.Context) error {
	w.client.CloseIdleConnections()
	return nil
}

var _ service.Output = (*webhook)(nil)
