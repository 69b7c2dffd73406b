package lake

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
)

// credentials looks for credentials where the tools of AWS do: in the environment; the role of a
// pod or task, if the environment has one; the profile in the shared files; the role of the
// instance. If a profile is named, it looks only there.
func (q *s3Query) credentials() *credentials.Credentials {
	// Outside of a cloud, requests for a role get no response.
	role := &credentials.IAM{Client: &http.Client{Timeout: 10 * time.Second}, Region: q.region}
	file := &credentials.FileAWSCredentials{Profile: q.profile}
	switch {
	case q.anonymous:
		return credentials.NewStatic("", "", "", credentials.SignatureAnonymous)
	case q.profile != "":
		return credentials.New(&chain{providers: []credentials.Provider{file}})
	case os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE") != "" || os.Getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") != "" ||
		os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI") != "":
		return credentials.New(&chain{providers: []credentials.Provider{&credentials.EnvAWS{}, role, file}})
	case os.Getenv("AWS_EC2_METADATA_DISABLED") == "true":
		return credentials.New(&chain{providers: []credentials.Provider{&credentials.EnvAWS{}, file}})
	}
	return credentials.New(&chain{providers: []credentials.Provider{&credentials.EnvAWS{}, file, role}})
}

// chain tries one provider after the other, and stays with the first that has credentials. Unlike
// the library's chain it fails if none has.
type chain struct {
	providers []credentials.Provider
	current   credentials.Provider
	until     time.Time // for credentials without an expiry
}

// askAgain is how long credentials without an expiry are used before they are read again, because
// files may be replaced.
const askAgain = time.Minute

func (c *chain) RetrieveWithCredContext(cc *credentials.CredContext) (credentials.Value, error) {
	failed := errors.New("finding the credentials of S3: none in the environment, in the profile, or of a role; set " +
		"AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	for _, p := range c.providers {
		v, err := p.RetrieveWithCredContext(cc)
		switch {
		case err == nil && v.AccessKeyID != "" && v.SecretAccessKey != "":
			c.current, c.until = p, time.Time{}
			if v.Expiration.IsZero() {
				c.until = time.Now().Add(askAgain)
			}
			return v, nil
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			failed = fmt.Errorf("%w; %w", failed, err)
		}
	}
	return credentials.Value{}, failed
}

func (c *chain) Retrieve() (credentials.Value, error) { return c.RetrieveWithCredContext(nil) }

func (c *chain) IsExpired() bool {
	switch {
	case c.current == nil:
		return true
	case !c.until.IsZero():
		return time.Now().After(c.until)
	}
	return c.current.IsExpired()
}
