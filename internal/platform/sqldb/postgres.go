package sqldb

import (
	"context"
	"database/sql"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"weir/internal/platform/calls"
	"weir/internal/platform/secret"
)

// How a dead server is noticed. What a statement may take is its caller's
// context to say.
const (
	connectTimeout = 5 * time.Second // unless the URL says connect_timeout
	keepAliveIdle  = 15 * time.Second
	keepAliveEvery = 5 * time.Second
	keepAliveTries = 3
	maxIdleTime    = 5 * time.Minute // firewalls forget quiet connections
)

// openPostgres prepares a pool; it connects when it is first used. Connections
// that broke, as by a restart of the server, are replaced: a transaction on
// one fails, the next one finds the server again.
func openPostgres(rawURL string, meter *calls.Meter) (*sql.DB, error) {
	without, kept, err := secret.Password(rawURL)
	if err != nil {
		return nil, err
	}
	conf, err := pgx.ParseConfig(without)
	if err != nil {
		return nil, err // pgx leaves passwords out of it
	}
	if conf.ConnectTimeout == 0 {
		conf.ConnectTimeout = connectTimeout
	}
	dialer := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: keepAliveIdle, Interval: keepAliveEvery, Count: keepAliveTries}}
	conf.DialFunc = dialer.DialContext
	if conf.RuntimeParams["application_name"] == "" {
		conf.RuntimeParams["application_name"] = "weir"
	}
	conf.Tracer = tracer{meter}
	var options []stdlib.OptionOpenDB
	if kept != "" { // read for each connection: it may have been rotated
		options = append(options, stdlib.OptionBeforeConnect(func(ctx context.Context, c *pgx.ConnConfig) (err error) {
			c.Password, err = secret.Value(ctx, kept)
			return err
		}))
	}
	db := stdlib.OpenDB(*conf, options...)
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(8)
	db.SetConnMaxIdleTime(maxIdleTime)
	return db, nil
}
