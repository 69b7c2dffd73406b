package etl

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"weir/internal/platform/kafka"
)

const mysqlFormat = "mysql"

const mysqlPort = 3306

// mysqlServer is a database of a MariaDB or MySQL server.
type mysqlServer struct {
	sqlServer
	ca string // PEM file; "": the system's certificates
}

func (p *Pipeline) readMySQLServer(r *reader) mysqlServer {
	m := mysqlServer{readServer(r, mysqlPort), r.text("ca", false)}
	if m.ca != "" && m.sslmode != sslVerifyFull && m.sslmode != sslVerifyCA {
		r.wrong(r.members["ca"], "the CA is of %s and %s", sslVerifyFull, sslVerifyCA)
	}
	if m.ca != "" && !filepath.IsAbs(m.ca) {
		m.ca = filepath.Join(p.dir, m.ca)
	}
	return m
}

func (m mysqlServer) format() string { return mysqlFormat }
func (m mysqlServer) where() string  { return m.url(mysqlFormat) }

// mysqlTimeout bounds how long connecting may take.
const mysqlTimeout = 30 * time.Second

// connect opens one connection, with the secrets as they are now. Its time zone is UTC. For a
// source it keeps the server's SQL modes and returns times as text; for a sink it sets its own
// modes.
func (m mysqlServer) connect(ctx context.Context, sink bool) (*mysqlConn, error) {
	conf := mysql.NewConfig()
	conf.ParseTime = sink
	var err error
	if conf.User, conf.Passwd, err = m.login(ctx); err != nil {
		return nil, err
	}
	if conf.TLS, err = m.tls(); err != nil {
		return nil, err
	}
	conf.Net, conf.Addr, conf.DBName = "tcp", m.address(), m.database
	conf.Timeout = mysqlTimeout
	conf.MaxAllowedPacket = 0 // the server's value
	conf.Logger = &mysql.NopLogger{}
	conf.ConnectionAttributes = "program_name:weir etl"
	// The reader of rows may be busy with its disk for long.
	conf.Params = map[string]string{"time_zone": "'+00:00'", "net_write_timeout": "3600", "net_read_timeout": "3600"}
	if sink {
		conf.Params["sql_mode"] = mysqlModes
	}
	connector, err := mysql.NewConnector(conf)
	if err != nil {
		return nil, fmt.Errorf("reading how to connect to MySQL: %w", err)
	}
	pool := sql.OpenDB(connector)
	conn, err := pool.Conn(ctx)
	if err != nil {
		_ = pool.Close()
		return nil, m.refused("connecting to", err)
	}
	if _, err := conn.ExecContext(ctx, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ"); err != nil {
		(&mysqlConn{conn, pool}).end()
		return nil, m.refused("connecting to", err)
	}
	return &mysqlConn{conn, pool}, nil
}

// mysqlConn is the only connection of a pool.
type mysqlConn struct {
	*sql.Conn
	pool *sql.DB
}

// end closes the connection, and rolls back a transaction that is open. Errors are ignored: the
// answers that matter came before.
func (c *mysqlConn) end() {
	_ = c.Close()
	_ = c.pool.Close()
}

// tls returns how the server is authenticated; nil: without TLS.
func (m mysqlServer) tls() (*tls.Config, error) {
	if m.sslmode == sslDisable {
		return nil, nil
	}
	conf, err := kafka.TLS(m.ca)
	if err != nil {
		return nil, fmt.Errorf("connecting to MySQL %s: %w", m.host, err)
	}
	conf.ServerName = m.host
	switch m.sslmode {
	case sslRequire:
		conf.InsecureSkipVerify = true
	case sslVerifyCA: // whatever the server's name is
		conf.InsecureSkipVerify = true
		conf.VerifyConnection = func(state tls.ConnectionState) error {
			between := x509.NewCertPool()
			for _, c := range state.PeerCertificates[1:] {
				between.AddCert(c)
			}
			_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: conf.RootCAs, Intermediates: between})
			return err
		}
	}
	return conf, nil
}

// Numbers of errors of the server.
const (
	mysqlDuplicate   = 1062
	mysqlLockTimeout = 1205
	mysqlDeadlock    = 1213
	mysqlChanged     = 1020 // the row has changed since the transaction read it
)

// mysqlRefused is an error of the server and its number.
type mysqlRefused struct {
	error
	number uint16
}

// Unwrap returns the message.
func (e mysqlRefused) Unwrap() error { return e.error }

// mysqlNumber returns the number of an error of the server; 0: it is not one.
func mysqlNumber(err error) uint16 {
	var said mysqlRefused
	if !errors.As(err, &said) {
		return 0
	}
	return said.number
}

// inColumn matches the column and the row in an error of the server, without the value.
var inColumn = regexp.MustCompile("for column .?(?:`[^`]*`\\.`[^`]*`\\.)?[`']([^`']*)[`'].? at row (\\d+)")

// ofKey matches the name of the index in an error about a duplicate key, without the value before it.
var ofKey = regexp.MustCompile(`for key '([^']*)'$`)

// refused adds to an error what was being done, and removes what the server may quote of data, and the
// user, who may be a secret. It makes errors final that no retry mends.
func (m mysqlServer) refused(doing string, err error) error {
	doing = fmt.Sprintf("%s MySQL %s", doing, m.host)
	var said *mysql.MySQLError
	if !errors.As(err, &said) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	says, final := "", true
	class := string(said.SQLState[:2])
	switch n := said.Number; {
	case class == "28" || n == 1045 || n == 1698 || n == 1251 || n == 1275:
		says = "it refuses the user or the password"
	case slices.Contains([]uint16{1044, 1142, 1143, 1227, 1370, 1410, 1419}, n): // they name the user
		says = "the user has no right to do that"
	case n == mysqlDuplicate || n == 1586:
		says = "a row is in the way of another one"
		if at := ofKey.FindStringSubmatch(said.Message); at != nil {
			says += fmt.Sprintf(" in the unique index %s", at[1])
		}
	case class == "22" || slices.Contains([]uint16{1292, 1366, 1411, 1525, 1690, 3140, 3141, 3156}, n):
		says = "the query fails on a value"
		if at := inColumn.FindStringSubmatch(said.Message); at != nil {
			says = fmt.Sprintf("it refuses the value of column %q in row %s of those that it was given", at[1], at[2])
		}
	case class == "42" || class == "21" || class == "23", // the messages have names and constraints, and no values
		slices.Contains([]uint16{1364, 1406, 1264, 1265, 1048, 1451, 1452, 4025, 3819, 1906, 3105, 1071, 1118, 1114,
			1267, 1271, 1153, 1419}, n):
		says = said.Message
	case slices.Contains([]uint16{1040, 1053, mysqlLockTimeout, mysqlDeadlock, 1290, 1317, 1412, 1836, 1927, 1969, 3024,
		mysqlChanged}, n):
		says, final = said.Message, false
	default:
		says, final = "it fails", false
	}
	err = mysqlRefused{fmt.Errorf("%s: %s (error %d)", doing, says, said.Number), said.Number}
	if final {
		return dataError{err}
	}
	return err
}

// backticked returns a name in backticks, which quote names in every mode of a session.
func backticked(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// backtickedTable returns DATABASE.TABLE or TABLE in backticks.
func backtickedTable(table string) string {
	parts := strings.Split(table, ".")
	for i, part := range parts {
		parts[i] = backticked(part)
	}
	return strings.Join(parts, ".")
}
