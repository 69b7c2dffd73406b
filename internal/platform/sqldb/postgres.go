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

// The timeouts that detect a dead server. The caller's context bounds a statement.
const (
	connectTimeout = 5 * time.Second // unless the URL has connect_timeout
	keepAliveIdle  = 15 * time.Second
	keepAliveEvery = 5 * time.Second
	keepAliveTries = 3
	maxIdleTime    = 5 * time.Minute // firewalls drop idle connections
)

// openPostgres prepares a pool, which connects when it is first used. Broken connections, as after a restart of the
// server, are replaced: a transaction on one fails, and the next one gets a new connection.
func openPostgres(rawURL string, meter *calls.Meter) (*sql.DB, error) {
	without, kept, err := secret.Password(rawURL)
	if err != nil {
		return nil, err
	}
	conf, err := pgx.ParseConfig(without)
	if err != nil {
		return nil, err // pgx errors contain no passwords
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
	if kept != "" { // read the password for each connection, because it may have been rotated
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
