package lake

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/encrypt"
)

// s3Store keeps objects in a bucket, below a prefix.
type s3Store struct {
	client *minio.Core
	http   *http.Client // for requests for which the client has no method
	bucket string
	prefix string // of all keys; "" or as given in the URL
	sealed encrypt.ServerSide
}

// partSize is the size up to which an object is collected in memory and sent in one request, and
// the size of the parts of larger objects. With 10,000 parts, an object has at most 80 GiB.
const partSize = 8 << 20

// known converts S3's error for a missing object to ErrNotFound.
func known(err error) error {
	if minio.ToErrorResponse(err).Code == minio.NoSuchKey {
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return err
}

// put sends a small object in one request, and a larger one in parts, which become an object with
// the last request only. After an error the parts are deleted; those that a crash leaves are
// deleted by a lifecycle rule of the bucket.
func (b *s3Store) put(ctx context.Context, key string, write func(io.Writer) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	u := &upload{}
	u.send = func(body io.Reader, size int64) error {
		_, err := b.client.Client.PutObject(ctx, b.bucket, b.prefix+key, body, size, minio.PutObjectOptions{
			ContentType: "application/vnd.apache.parquet", SendContentMd5: true, ServerSideEncryption: b.sealed,
			PartSize: partSize,
		})
		return err
	}
	if err := write(u); err != nil {
		return u.abandon(err)
	}
	return u.finish()
}

// putNew makes the server refuse the object if the key exists. It always sends one request,
// because the client sends no such condition when it completes a multipart upload.
func (b *s3Store) putNew(ctx context.Context, key string, body []byte) error {
	o := minio.PutObjectOptions{ContentType: "application/json", SendContentMd5: true, ServerSideEncryption: b.sealed,
		DisableMultipart: true}
	o.SetMatchETagExcept("*")
	_, err := b.client.Client.PutObject(ctx, b.bucket, b.prefix+key, bytes.NewReader(body), int64(len(body)), o)
	if minio.ToErrorResponse(err).StatusCode == http.StatusPreconditionFailed {
		return ErrExists
	}
	return err
}

// upload buffers what is written. If that is more than one part, it is passed through a pipe to a
// goroutine that sends parts.
type upload struct {
	send  func(body io.Reader, size int64) error // size -1: unknown
	first bytes.Buffer
	rest  *io.PipeWriter
	sent  chan error // result of the goroutine that sends parts
}

func (u *upload) Write(p []byte) (int, error) {
	if u.rest == nil {
		if u.first.Len()+len(p) <= partSize {
			return u.first.Write(p)
		}
		u.begin()
	}
	return u.rest.Write(p)
}

func (u *upload) begin() {
	body, rest := io.Pipe()
	u.rest, u.sent = rest, make(chan error, 1)
	go func() {
		err := u.send(io.MultiReader(&u.first, body), -1)
		if err != nil {
			_ = body.CloseWithError(err) // makes writes fail
		}
		u.sent <- err
	}()
}

func (u *upload) finish() error {
	if u.rest == nil {
		return u.send(bytes.NewReader(u.first.Bytes()), int64(u.first.Len()))
	}
	_ = u.rest.Close()
	return <-u.sent
}

// abandon makes a running upload fail, waits for its end, and returns err.
func (u *upload) abandon(err error) error {
	if u.rest != nil {
		_ = u.rest.CloseWithError(err)
		<-u.sent
	}
	return err
}

func (b *s3Store) list(ctx context.Context, prefix string, each func(Blob) error) error {
	return b.walk(ctx, minio.ListObjectsOptions{Prefix: b.prefix + withSlash(prefix), Recursive: true},
		func(obj minio.ObjectInfo) error {
			return each(Blob{Key: strings.TrimPrefix(obj.Key, b.prefix), Size: obj.Size})
		})
}

func (b *s3Store) folders(ctx context.Context, prefix string) ([]string, error) {
	prefix = b.prefix + withSlash(prefix)
	var names []string
	err := b.walk(ctx, minio.ListObjectsOptions{Prefix: prefix}, func(obj minio.ObjectInfo) error {
		if name, ok := strings.CutSuffix(strings.TrimPrefix(obj.Key, prefix), "/"); ok && name != "" {
			names = append(names, name)
		}
		return nil
	})
	return names, err
}

func (b *s3Store) walk(ctx context.Context, what minio.ListObjectsOptions, each func(minio.ObjectInfo) error) error {
	for obj := range b.client.ListObjectsIter(ctx, b.bucket, what) {
		if obj.Err != nil {
			return obj.Err
		}
		if err := each(obj); err != nil {
			return err
		}
	}
	return ctx.Err() // when cancelled, the iterator ends without an error
}

func (b *s3Store) open(ctx context.Context, key string, size int64) (Reader, error) {
	return &s3Reader{ctx: ctx, b: b, key: b.prefix + key, size: size}, nil
}

func (b *s3Store) remove(ctx context.Context, key string) error {
	return known(b.client.RemoveObject(ctx, b.bucket, b.prefix+key, minio.RemoveObjectOptions{}))
}

func (b *s3Store) close() error {
	b.http.CloseIdleConnections()
	return nil
}

// s3Reader reads ranges of an object, with one request each.
type s3Reader struct {
	ctx  context.Context // the context of Open; reads fail when it ends
	b    *s3Store
	key  string
	size int64
}

func (r *s3Reader) Size() int64  { return r.size }
func (r *s3Reader) Close() error { return nil }

func (r *s3Reader) ReadAt(p []byte, off int64) (int, error) {
	if off >= r.size {
		return 0, io.EOF
	}
	want := min(int64(len(p)), r.size-off)
	if want == 0 {
		return 0, nil
	}
	var part minio.GetObjectOptions
	if err := part.SetRange(off, off+want-1); err != nil {
		return 0, err
	}
	body, _, _, err := r.b.client.GetObject(r.ctx, r.b.bucket, r.key, part)
	if err != nil {
		return 0, known(err)
	}
	n, err := io.ReadFull(body, p[:want])
	if cerr := body.Close(); err == nil {
		err = cerr
	}
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

var _ backend = (*s3Store)(nil)

func (b *s3Store) below(folder string) backend {
	view := *b
	view.prefix += folder + "/"
	return &view
}
