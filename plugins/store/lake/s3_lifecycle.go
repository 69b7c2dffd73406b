package lake

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/minio/minio-go/v7"
)

// rules returns the lifecycle rules of the bucket. known is false if the server has no such rules.
// It does not use the client's types, which would lose elements of rules of others.
func (b *s3Store) rules(ctx context.Context) (have []rule, known bool, err error) {
	body, err := b.lifecycle(ctx, http.MethodGet, nil)
	switch minio.ToErrorResponse(err).Code {
	case "NoSuchLifecycleConfiguration":
		return nil, true, nil
	case "NotImplemented", "MethodNotAllowed":
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	var all struct {
		Rules []rule `xml:"Rule"`
	}
	if err := xml.Unmarshal(body, &all); err != nil {
		return nil, false, err
	}
	return all.Rules, true, nil
}

// setRules replaces all lifecycle rules of the bucket.
func (b *s3Store) setRules(ctx context.Context, rules []rule) error {
	var body bytes.Buffer
	body.WriteString(`<LifecycleConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">`)
	for _, r := range rules {
		body.WriteString("<Rule>" + r.Text + "</Rule>")
	}
	body.WriteString("</LifecycleConfiguration>")
	_, err := b.lifecycle(ctx, http.MethodPut, body.Bytes())
	return err
}

// rulesTime bounds one request.
const rulesTime = time.Minute

func (b *s3Store) lifecycle(ctx context.Context, method string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, rulesTime)
	defer cancel()
	header := http.Header{}
	if body != nil {
		sum := md5.Sum(body) // S3 requires it for this request
		header.Set("Content-Md5", base64.StdEncoding.EncodeToString(sum[:]))
	}
	at, err := b.client.PresignHeader(ctx, method, b.bucket, "", rulesTime, url.Values{"lifecycle": {""}}, header)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, at.String(), bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("its address is no URL")
	}
	req.Header = header
	resp, err := b.http.Do(req)
	var withURL *url.Error
	if errors.As(err, &withURL) {
		return nil, withURL.Err // without the URL, whose signature is valid for a minute
	} else if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 == 2 {
		return answer, nil
	}
	var refusal minio.ErrorResponse
	if err := xml.Unmarshal(answer, &refusal); err != nil || refusal.Code == "" {
		return nil, fmt.Errorf("the server answered %s", resp.Status)
	}
	return nil, refusal
}
