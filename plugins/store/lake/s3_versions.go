package lake

import (
	"context"
	"fmt"
	"net/http"

	"github.com/minio/minio-go/v7"
)

// Earlier returns how many bytes objects have that were replaced or deleted but are kept as
// earlier versions. keeps is false if the store keeps none, or does not show them.
func (s *Store) Earlier(ctx context.Context) (n int64, keeps bool, err error) {
	b, is := s.backend.(*s3Store)
	if !is {
		return 0, false, nil
	}
	if n, keeps, err = b.earlier(ctx); err != nil {
		return 0, false, fmt.Errorf("listing earlier versions in %s: %w", s.name, err)
	}
	return n, keeps, nil
}

func (b *s3Store) earlier(ctx context.Context) (n int64, keeps bool, err error) {
	versioning, err := b.client.GetBucketVersioning(ctx, b.bucket)
	if err != nil || versioning.Status == "" { // never enabled
		return 0, false, told(err)
	}
	all := minio.ListObjectsOptions{Prefix: b.prefix, Recursive: true, WithVersions: true}
	err = b.walk(ctx, all, func(obj minio.ObjectInfo) error {
		if !obj.IsLatest {
			n += obj.Size
		}
		return nil
	})
	return n, err == nil, told(err)
}

// told returns nil instead of the errors of a server that has no versions, or does not show them.
func told(err error) error {
	switch minio.ToErrorResponse(err).StatusCode {
	case http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return nil
	}
	return err
}
