package etl

import (
	"context"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"weir/internal/platform/secret"
)

// sqlServer is a database on an SQL server, and the user that connects to it.
type sqlServer struct {
	host, database, sslmode string
	port                    int64
	user, password          string // references to secrets; the user may also be plain text
}

func readServer(r *reader, port int64) sqlServer {
	p := sqlServer{host: r.text("host", true), port: r.number("port", port, 1, 65535),
		database: r.text("database", true), sslmode: r.oneOf("sslmode", sslModes()...)}
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

const (
	sslVerifyFull = "verify-full"
	sslVerifyCA   = "verify-ca"
	sslRequire    = "require"
	sslDisable    = "disable"
)

func sslModes() []string { return []string{sslVerifyFull, sslVerifyCA, sslRequire, sslDisable} }

// address returns HOST:PORT.
func (s sqlServer) address() string { return net.JoinHostPort(s.host, strconv.FormatInt(s.port, 10)) }

// url returns the URL of the database, without the user.
func (s sqlServer) url(scheme string) string {
	u := url.URL{Scheme: scheme, Host: s.address(), Path: "/" + s.database}
	return u.String()
}

// login returns the user and the password, with their secrets as they are now.
func (s sqlServer) login(ctx context.Context) (user, password string, err error) {
	if user, err = secret.Value(ctx, s.user); err != nil {
		return "", "", err
	}
	password, err = secret.Value(ctx, s.password)
	return user, password, err
}

// database is a server whose tables are sinks. The statements that claim, load and audit a table
// are the same for all servers, with names in double quotes and ? for values; what differs is in
// this interface and in dbSession.
type database interface {
	format() string // name of the format in a pipeline
	where() string  // URL without the user
	// books returns the statements that create the tables of claims and of loads, and positions the
	// one that creates the table of the positions of streams. They do nothing to a table that
	// exists.
	books(t *dbTable) []string
	positions(t *dbTable) string
	// otherwise returns the end of an INSERT that sets the columns sets if there is a row with this
	// key.
	otherwise(key, sets []string) string
	session(ctx context.Context, readOnly bool) (dbSession, error)
	// reading returns a source of some columns of a table, for its audit.
	reading(t *dbTable, columns []column) source
}

// dbSession is a connection to a database. Its errors contain the server's message, without the
// values or the user that the server may quote in it.
type dbSession interface {
	exec(ctx context.Context, sql string, args ...any) error
	// query calls each for every row; each must scan it.
	query(ctx context.Context, each func(scan func(...any) error) error, sql string, args ...any) error
	// make creates tables; others may create the same ones at the same time.
	make(ctx context.Context, statements ...string) error
	// transact calls do in one transaction that holds the named lock. When it returns nil, the
	// transaction is durable. After an error it may be, if the answer to the commit was lost. It
	// may call do several times, when the server aborts the transaction because of a deadlock.
	transact(ctx context.Context, lock string, do func(context.Context) error) error
	// takes returns an error that names the columns which the table cannot hold as they are.
	takes(ctx context.Context, t *dbTable, columns []column) error
	// ready does, before a transaction, what the server can only do outside of one.
	ready(ctx context.Context, t *dbTable, columns []column) error
	// fill writes rows to the table within a transaction. As the sink's mode says, it creates or
	// empties the table first, or merges the rows.
	fill(ctx context.Context, t *dbTable, columns []column, encode func(tableRows) error) error
	// erase deletes the rows with these keys, or all rows, before rows are merged.
	erase(ctx context.Context, t *dbTable, key []column, rows []row, all bool) error
	close(ctx context.Context)
}

// tableRows encodes rows for a table. The sum of the rows does not depend on their order.
type tableRows interface {
	encoder
	told() (bytes int64, sum string)
}

// quoted returns a table's name, SCHEMA.TABLE or TABLE, in SQL's quotes.
func quoted(table string) string { return pgx.Identifier(strings.Split(table, ".")).Sanitize() }

// quotedNames returns names in quotes, as a list in SQL.
func quotedNames(all []string) string {
	out := slices.Clone(all)
	for i, name := range out {
		out[i] = pgx.Identifier{name}.Sanitize()
	}
	return strings.Join(out, ", ")
}
