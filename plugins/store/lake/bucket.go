package lake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"gocloud.dev/blob"
	_ "gocloud.dev/blob/memblob" // mem://
	_ "gocloud.dev/blob/s3blob"  // s3://
	"gocloud.dev/gcerrors"
)

// bucket is a store behind gocloud.dev: S3 or memory.
type bucket struct {
	*blob.Bucket
	name, prefix string
}

// place is the bucket's name, and what the keys of the store begin with there.
func (b *bucket) place() (name, prefix string) { return b.name, b.prefix }

func openBucket(ctx context.Context, u *url.URL) (backend, error) {
	b, err := blob.OpenBucket(ctx, (&url.URL{Scheme: u.Scheme, Host: u.Host, RawQuery: u.RawQuery}).String())
	if err != nil { // its text has the whole URL
		return nil, errors.New(strings.ReplaceAll(err.Error(), "?"+u.RawQuery, ""))
	}
	prefix := u.Query().Get("prefix") // applied by the library
	if below := strings.Trim(u.Path, "/"); below != "" {
		b = blob.PrefixedBucket(b, below+"/")
		prefix += below + "/"
	}
	return &bucket{Bucket: b, name: u.Host, prefix: prefix}, nil
}

// known turns the library's not-found into ours.
func known(err error) error {
	if err != nil && gcerrors.Code(err) == gcerrors.NotFound {
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return err
}

// put cancels the upload when write fails: an object appears at Close only.
func (b *bucket) put(ctx context.Context, key string, write func(io.Writer) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := b.NewWriter(ctx, key, &blob.WriterOptions{ContentType: "application/vnd.apache.parquet"})
	if err != nil {
		return err
	}
	if err := write(w); err != nil {
		cancel()
		_ = w.Close()
		return err
	}
	return w.Close()
}

func (b *bucket) list(ctx context.Context, prefix string, each func(Blob) error) error {
	it := b.List(&blob.ListOptions{Prefix: withSlash(prefix)})
	for {
		obj, err := it.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := each(Blob{Key: obj.Key, Size: obj.Size}); err != nil {
			return err
		}
	}
}

func (b *bucket) folders(ctx context.Context, prefix string) ([]string, error) {
	prefix = withSlash(prefix)
	it := b.List(&blob.ListOptions{Prefix: prefix, Delimiter: "/"})
	var names []string
	for {
		obj, err := it.Next(ctx)
		if errors.Is(err, io.EOF) {
			return names, nil
		} else if err != nil {
			return nil, err
		}
		if obj.IsDir {
			names = append(names, strings.TrimSuffix(strings.TrimPrefix(obj.Key, prefix), "/"))
		}
	}
}

func (b *bucket) open(ctx context.Context, key string, size int64) (Reader, error) {
	return &bucketReader{ctx: ctx, b: b, key: key, size: size}, nil
}

func (b *bucket) remove(ctx context.Context, key string) error { return known(b.Delete(ctx, key)) }
func (b *bucket) close() error                                 { return b.Bucket.Close() }

// bucketReader reads ranges, one request each.
type bucketReader struct {
	ctx  context.Context // of the Open: reads end with it
	b    *bucket
	key  string
	size int64
}

func (r *bucketReader) Size() int64  { return r.size }
func (r *bucketReader) Close() error { return nil }

func (r *bucketReader) ReadAt(p []byte, off int64) (int, error) {
	if off >= r.size {
		return 0, io.EOF
	}
	want := min(int64(len(p)), r.size-off)
	part, err := r.b.NewRangeReader(r.ctx, r.key, off, want, nil)
	if err != nil {
		return 0, known(err)
	}
	n, err := io.ReadFull(part, p[:want])
	if cerr := part.Close(); err == nil {
		err = cerr
	}
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}
