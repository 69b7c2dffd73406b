package etl

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"weir/internal/platform/secret"
)

// postgresServer is a database of a PostgreSQL, and who asks it.
type postgresServer struct {
	host, database, sslmode string
	port                    int64
	user, password          string // where a secret is kept, or, of the user, itself
}

func readServer(r *reader) postgresServer {
	p := postgresServer{host: r.text("host", true), port: r.number("port", 5432, 1, 65535),
		database: r.text("database", true), sslmode: r.oneOf("sslmode", "verify-full", "verify-ca", "require", "disable")}
	if n := r.members["user"]; n != nil {
		if _, is := n.value.(string); is {
			p.user = r.text("user", true)
		} else {
			p.user = readSecret(r, "user")
		}
	} else {
		p.user = r.text("user", true)
	}
	p.password = readSecret(r, "password")
	if strings.ContainsAny(p.host, "/@?# ") {
		r.wrong(r.members["host"], "expected the name of a host")
	}
	return p
}

// where is the URL of the database, without the user.
func (p postgresServer) where() string {
	u := url.URL{Scheme: "postgres", Host: net.JoinHostPort(p.host, strconv.FormatInt(p.port, 10)), Path: "/" + p.database}
	return u.String()
}

// postgresTimeout bounds connecting, and each answer that is no row.
const postgresTimeout = 30 * time.Second

// connect connects with the secrets as they are now. Values come and go as text,
// in one form each.
func (p postgresServer) connect(ctx context.Context, more map[string]string) (*pgx.Conn, error) {
	conf, err := pgx.ParseConfig(p.where() + "?" + url.Values{"sslmode": {p.sslmode}}.Encode())
	if err != nil {
		return nil, fmt.Errorf("reading how to connect to PostgreSQL: %w", err)
	}
	if conf.User, err = secret.Value(ctx, p.user); err != nil {
		return nil, err
	}
	if conf.Password, err = secret.Value(ctx, p.password); err != nil {
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

// copied is where COPY met what it refuses; the value that follows is not shown.
var copied = regexp.MustCompile(`^COPY .*, line (\d+), column ([^:]*)`)

// refused is what the server says, without what it may quote of data, and without
// the user, which may be a secret.
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
	case "42", "3D", "23", "54": // a name, a right, a constraint, a bound: its message has no values
	default:
		final = false
	}
	err = fmt.Errorf("%s PostgreSQL %s: %s (SQLSTATE %s)", doing, p.host, says, said.Code)
	if final {
		return dataError{err}
	}
	return err
}

// quoted is the name of a table, SCHEMA.TABLE or TABLE, as SQL has it.
func quoted(table string) string { return pgx.Identifier(strings.Split(table, ".")).Sanitize() }

// quotedNames are names as a list in SQL.
func quotedNames(all []string) string {
	out := slices.Clone(all)
	for i, name := range out {
		out[i] = pgx.Identifier{name}.Sanitize()
	}
	return strings.Join(out, ", ")
}
