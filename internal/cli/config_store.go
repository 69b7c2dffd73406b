package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/urfave/cli/v2"

	"weir/internal/control/auditlog"
	"weir/internal/control/status"
	"weir/internal/control/streamconf"
	"weir/internal/platform/httpx"
	"weir/internal/platform/sqldb"
)

// configsOf is the list of versions with what is in force and what runs.
type configsOf struct {
	Active    []streamconf.Activation `json:"active"`
	Versions  []streamconf.Version    `json:"versions"`
	Processes []status.ProcessConfig  `json:"processes"`
}

// configs accesses versions of stream configs in a store or over the API.
type configs interface {
	get(ctx context.Context, stream string, number int64) (streamconf.Version, error)
	activate(ctx context.Context, stream string, number int64) (streamconf.Activation, error)
	rollback(ctx context.Context, stream string) (streamconf.Activation, error)
	all(ctx context.Context) (configsOf, error)
}

func withConfigs(open func(context.Context, string) (*sqldb.DB, error), do func(context.Context, *cli.Context,
	configs) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		if c.String("api") != "" {
			api, leave, err := adminAPI(c, "config")
			if err != nil {
				return err
			}
			defer leave()
			return do(c.Context, c, remoteConfigs{api})
		}
		db, err := openControl(c, open)
		if err != nil {
			return err
		}
		defer func() { _ = db.Close() }() // every change is committed
		kept, err := openConfigs(c.Context, db)
		if err != nil {
			return err
		}
		return do(c.Context, c, kept)
	}
}

// whoActs names the user of this process for stored records.
func whoActs() string { return auditlog.Local("", nil, nil).User + " at the command line" }

// localConfigs works on a store and records changes in its audit log.
type localConfigs struct {
	kept *streamconf.Store
	runs *status.Store
	db   *sqldb.DB
}

func openConfigs(ctx context.Context, db *sqldb.DB) (localConfigs, error) {
	kept, err := streamconf.Open(ctx, db)
	runs, err2 := status.Open(ctx, db)
	return localConfigs{kept, runs, db}, errors.Join(err, err2)
}

func (l localConfigs) put(ctx context.Context, v streamconf.Version) (streamconf.Version, error) {
	kept, err := l.kept.Put(ctx, v)
	return kept, recorded(ctx, l.db, "config put", map[string]any{"stream": v.Stream, "number": kept.Number,
		"version": kept.Sum, "comment": auditlog.Text(v.Comment)}, err)
}

func (l localConfigs) get(ctx context.Context, stream string, number int64) (streamconf.Version, error) {
	return l.kept.Get(ctx, stream, number)
}

func (l localConfigs) activate(ctx context.Context, stream string, number int64) (streamconf.Activation, error) {
	a, err := l.kept.Activate(ctx, stream, number, whoActs())
	return a, recorded(ctx, l.db, "config activate", map[string]any{"stream": stream, "number": number}, err)
}

func (l localConfigs) rollback(ctx context.Context, stream string) (streamconf.Activation, error) {
	a, err := l.kept.Rollback(ctx, stream, whoActs())
	return a, recorded(ctx, l.db, "config rollback", map[string]any{"stream": stream, "number": a.Number}, err)
}

func (l localConfigs) all(ctx context.Context) (configsOf, error) {
	list, err := l.kept.List(ctx)
	active, err2 := l.kept.Active(ctx)
	rows, err3 := l.runs.List(ctx)
	return configsOf{active, list, status.Configs(rows)}, errors.Join(err, err2, err3)
}

// remoteConfigs works over the API, which writes the audit log itself.
type remoteConfigs struct{ httpx.API }

const streamConfigsPath = "/v1/stream-configs"

func (r remoteConfigs) get(ctx context.Context, stream string, number int64) (v streamconf.Version, err error) {
	return v, r.Call(ctx, http.MethodGet, fmt.Sprintf("%s/%s/%d", streamConfigsPath, stream, number), nil, &v)
}

func (r remoteConfigs) activate(ctx context.Context, stream string, number int64) (a streamconf.Activation, err error) {
	return a, r.Call(ctx, http.MethodPost, fmt.Sprintf("%s/%s/%d/activate", streamConfigsPath, stream, number), nil, &a)
}

func (r remoteConfigs) rollback(ctx context.Context, stream string) (a streamconf.Activation, err error) {
	return a, r.Call(ctx, http.MethodPost, streamConfigsPath+"/"+stream+"/rollback", nil, &a)
}

func (r remoteConfigs) all(ctx context.Context) (v configsOf, err error) {
	return v, r.Call(ctx, http.MethodGet, streamConfigsPath, nil, &v)
}
