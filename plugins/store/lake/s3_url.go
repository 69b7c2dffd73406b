package lake

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/encrypt"
	"github.com/minio/minio-go/v7/pkg/s3utils"

	"weir/internal/platform/calls"
)

// s3Attempts is how often a request is sent before its error is returned. It is small so that an
// outage is noticed within about a second; writers try again.
const s3Attempts = 3

// s3Query has the options in the query of an s3 URL.
type s3Query struct {
	prefix, region, endpoint, profile, sse, kmsKey string
	pathStyle, plain, anonymous, dualstack         bool
}

// readS3Query rejects unknown options. Its errors do not contain values.
func readS3Query(query url.Values) (q s3Query, err error) {
	texts := map[string]*string{"prefix": &q.prefix, "region": &q.region, "endpoint": &q.endpoint,
		"profile": &q.profile, "ssetype": &q.sse, "kmskeyid": &q.kmsKey}
	switches := map[string]*bool{"use_path_style": &q.pathStyle, "s3ForcePathStyle": &q.pathStyle,
		"disable_https": &q.plain, "anonymous": &q.anonymous, "dualstack": &q.dualstack}
	for name := range query {
		if to, ok := texts[name]; ok {
			*to = query.Get(name)
		} else if to, ok := switches[name]; !ok {
			return q, fmt.Errorf("unknown option %q: expected region, endpoint, use_path_style, profile, prefix, ssetype, "+
				"kmskeyid, anonymous, dualstack or disable_https", name)
		} else if *to, err = strconv.ParseBool(query.Get(name)); err != nil {
			return q, fmt.Errorf("the option %s must be true or false", name)
		}
	}
	return q, nil
}

// openS3 returns the store of a bucket, without sending anything.
func openS3(u *url.URL, meter *calls.Meter) (*s3Store, error) {
	if err := s3utils.CheckValidBucketName(u.Host); err != nil {
		return nil, fmt.Errorf("reading the bucket's name: %w; expected s3://BUCKET/PREFIX?region=…", err)
	}
	if u.User != nil {
		return nil, errors.New("it holds a user: give keys by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or by a profile")
	}
	q, err := readS3Query(u.Query())
	if err != nil {
		return nil, err
	}
	host, secure, err := q.server()
	if err != nil {
		return nil, err
	}
	store := &s3Store{bucket: u.Host, prefix: q.prefix}
	if below := strings.Trim(u.Path, "/"); below != "" {
		store.prefix += below + "/"
	}
	if store.sealed, err = q.encryption(); err != nil {
		return nil, err
	}
	plain, err := minio.DefaultTransport(secure)
	if err != nil {
		return nil, err
	}
	transport := &s3Calls{plain, meter}
	store.http = &http.Client{Transport: transport}
	store.client, err = minio.NewCore(host, &minio.Options{
		Creds: q.credentials(), Secure: secure, Transport: transport, MaxRetries: s3Attempts,
		Region:       cmp.Or(q.region, os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION")),
		BucketLookup: q.lookup(host),
	})
	if err != nil {
		return nil, fmt.Errorf("reading the endpoint: %w", err)
	}
	store.client.SetS3EnableDualstack(q.dualstack)
	return store, nil
}

// aws is the server if no endpoint is given; the client changes to the server of the region.
const aws = "s3.amazonaws.com"

func (q *s3Query) server() (host string, secure bool, err error) {
	endpoint := cmp.Or(q.endpoint, os.Getenv("AWS_ENDPOINT_URL_S3"), os.Getenv("AWS_ENDPOINT_URL"))
	if endpoint == "" {
		return aws, !q.plain, nil
	}
	u, err := url.Parse(endpoint)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || strings.Trim(u.Path, "/") != "" {
		return "", false, errors.New("the endpoint must be https://HOST:PORT or http://HOST:PORT")
	}
	return u.Host, u.Scheme == "https" && !q.plain, nil
}

// lookup says whether requests name the bucket in the host or in the path.
func (q *s3Query) lookup(host string) minio.BucketLookupType {
	name, _, _ := strings.Cut(host, ":")
	_, err := netip.ParseAddr(strings.Trim(name, "[]"))
	switch {
	case q.pathStyle || err == nil || strings.HasPrefix(host, "["):
		return minio.BucketLookupPath
	case host == aws:
		return minio.BucketLookupAuto // in the path for names with dots, which certificates do not cover
	}
	return minio.BucketLookupDNS
}

func (q *s3Query) encryption() (encrypt.ServerSide, error) {
	switch {
	case q.sse == "" && q.kmsKey == "":
		return nil, nil
	case q.sse == "AES256" && q.kmsKey == "":
		return encrypt.NewSSE(), nil
	case q.sse == "aws:kms" || q.sse == "" && q.kmsKey != "":
		return encrypt.NewSSEKMS(q.kmsKey, nil)
	}
	return nil, errors.New("the option ssetype must be AES256, or aws:kms with or without kmskeyid")
}
