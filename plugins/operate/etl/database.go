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

// sqlServer is a database of a server that speaks SQL, and who asks it.
type sqlServer struct {
	host, database, sslmode string
	port                    int64
	user, password          string // where a secret is kept, or, of the user, itself
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

// address is the host and the port.
func (s sqlServer) address() string { return net.JoinHostPort(s.host, strconv.FormatInt(s.port, 10)) }

// url is that of the database, without the user.
func (s sqlServer) url(scheme string) string {
	u := url.URL{Scheme: scheme, Host: s.address(), Path: "/" + s.database}
	return u.String()
}

// login is who asks, with the secrets as they are now.
func (s sqlServer) login(ctx context.Context) (user, password string, err error) {
	if user, err = secret.Value(ctx, s.user); err != nil {
		return "", "", err
	}
	password, err = secret.Value(ctx, s.password)
	return user, password, err
}

// database is a server whose tables are sinks. What a table is claimed, loaded and
// asked by is the same SQL for all, with names in double quotes and ? for values;
// what differs is said by the server, or by a session.
type database interface {
	format() string // in a pipeline
	where() string  // without the user
	// books are the statements that make the tables of claims and of loads; positions
	// the one for how far streams are. Where a table is there they do nothing.
	books(t *dbTable) []string
	positions(t *dbTable) string
	// otherwise ends an INSERT of a row whose key may be there: then it sets the rest.
	otherwise(key, sets []string) string
	session(ctx context.Context, readOnly bool) (dbSession, error)
	// reading is a source of some columns of a table, for its audit.
	reading(t *dbTable, columns []column) source
}

// dbSession is a connection to a database. Its errors say what the server says
// without what it may quote of data or of the user.
type dbSession interface {
	exec(ctx context.Context, sql string, args ...any) error
	// query hands each row to each, which scans it.
	query(ctx context.Context, each func(scan func(...any) error) error, sql string, args ...any) error
	// make makes tables, which another may be making.
	make(ctx context.Context, statements ...string) error
	// transact does something in one transaction, in which nobody else has the lock of
	// that name. When it returns without an error, what was done is durable; after an
	// error it may be, when the answer to the commit was lost. It may do it several
	// times, when the server has chosen it as the victim of a deadlock.
	transact(ctx context.Context, lock string, do func(context.Context) error) error
	// takes says which columns the table does not take as they are.
	takes(ctx context.Context, t *dbTable, columns []column) error
	// ready makes before a transaction what the server makes outside of one alone.
	ready(ctx context.Context, t *dbTable, columns []column) error
	// fill brings rows into the table within a transaction: it makes or empties the
	// table, where that is to be, and merges rows where that is asked for.
	fill(ctx context.Context, t *dbTable, columns []column, encode func(tableRows) error) error
	// erase lets the rows with these keys go, before rows are merged, or all.
	erase(ctx context.Context, t *dbTable, key []column, rows []row, all bool) error
	close(ctx context.Context)
}

// tableRows takes the rows of a table, and sums them up in any order.
type tableRows interface {
	encoder
	told() (bytes int64, sum string)
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
