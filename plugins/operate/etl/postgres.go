package etl

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// postgresServer is a database of a PostgreSQL server.
type postgresServer struct{ sqlServer }

const postgresPort = 5432

func (p postgresServer) format() string { return postgresFormat }
func (p postgresServer) where() string  { return p.url(postgresFormat) }

// postgresTimeout bounds connecting, and each answer without rows.
const postgresTimeout = 30 * time.Second

// connect opens a connection, with the secrets as they are now. Its settings make the server send
// each value as text, in one form.
func (p postgresServer) connect(ctx context.Context, more map[string]string) (*pgx.Conn, error) {
	conf, err := pgx.ParseConfig(p.where() + "?" + url.Values{"sslmode": {p.sslmode}}.Encode())
	if err != nil {
		return nil, fmt.Errorf("reading how to connect to PostgreSQL: %w", err)
	}
	if conf.User, conf.Password, err = p.login(ctx); err != nil {
		return nil, err
	}
	conf.ConnectTimeout = postgresTimeout
	conf.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	for _, all := range []map[string]string{more, {"application_name": "weir etl", "timezone": "UTC",
		"datestyle": "ISO, YMD", "bytea_output": "hex", "extra_float_digits": "1", "client_encoding": "UTF8",
		"standard_conforming_strings": "on"}} {
		for name, value := range all {
			conf.RuntimeParams[name] = value
		}
	}
	conn, err := pgx.ConnectConfig(ctx, conf)
	if err != nil {
		return nil, p.refused("connecting to", err)
	}
	return conn, nil
}

// copied matches the row and the column in an error of COPY, without the value after them.
var copied = regexp.MustCompile(`^COPY .*, line (\d+), column ([^:]*)`)

// refused adds to an error what was being done, and removes what the server may quote of data, and
// the user, who may be a secret. It makes errors final that no retry mends.
func (p postgresServer) refused(doing string, err error) error {
	var away *pgconn.ConnectError // it names the user
	if errors.As(err, &away) {
		err = away.Unwrap()
	}
	var said *pgconn.PgError
	if !errors.As(err, &said) {
		return fmt.Errorf("%s PostgreSQL %s: %w", doing, p.host, err)
	}
	says, final := said.Message, true
	switch said.Code[:2] {
	case "28":
		says = "it refuses the user or the password"
	case "22": // its message quotes the value
		says = "the query fails on a value"
		if at := copied.FindStringSubmatch(said.Where); at != nil {
			says = fmt.Sprintf("it refuses the value of column %q in row %s of those that it was given", at[2], at[1])
		}
	case "42", "3D", "23", "54": // a name, a right, a constraint, a limit: the message has no values
	default:
		final = false
	}
	err = fmt.Errorf("%s PostgreSQL %s: %s (SQLSTATE %s)", doing, p.host, says, said.Code)
	if final {
		return dataError{err}
	}
	return err
}
