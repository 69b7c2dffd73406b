package sqldb

import (
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"weir/tests/integration/vaulted"
)

// doorkeeper is a PostgreSQL that asks for the password, keeps it, and refuses.
type doorkeeper struct {
	mu   sync.Mutex
	told []string
}

func (d *doorkeeper) listen(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go d.refuse(conn)
		}
	}()
	return l.Addr().String()
}

func (d *doorkeeper) refuse(conn net.Conn) {
	defer conn.Close()
	b := pgproto3.NewBackend(conn, conn)
	if _, err := b.ReceiveStartupMessage(); err != nil {
		return
	}
	b.Send(&pgproto3.AuthenticationCleartextPassword{})
	if b.Flush() != nil || b.SetAuthType(pgproto3.AuthTypeCleartextPassword) != nil {
		return
	}
	if msg, err := b.Receive(); err == nil {
		if given, is := msg.(*pgproto3.PasswordMessage); is {
			d.mu.Lock()
			d.told = append(d.told, given.Password)
			d.mu.Unlock()
		}
	}
	b.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "28P01", Message: "password authentication failed"})
	_ = b.Flush()
}

// Each connection has the password that is in the Vault then, whatever it holds,
// and no error shows it.
func TestPostgres_ThePasswordOfTheVaultIsOfEachConnection(t *testing.T) {
	set := vaulted.Start(t)
	d := &doorkeeper{}
	url := "postgres://weir@" + d.listen(t) + "/weir?sslmode=disable&password="
	for i, password := range vaulted.Hostile() {
		set(password)
		_, err := Open(t.Context(), url+vaulted.Reference)
		d.mu.Lock()
		told := d.told
		d.mu.Unlock()
		if len(told) != i+1 || told[i] != password {
			t.Fatalf("the server was told %q, want %q at the end", told, password)
		}
		if err == nil || !strings.Contains(err.Error(), "28P01") || strings.Contains(err.Error(), password) {
			t.Errorf("%q: %v", password, err)
		}
	}
	missing := strings.Replace(vaulted.Reference, "#password", "#pass", 1)
	if _, err := Open(t.Context(), url+missing); err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("a field that is not there: %v", err)
	}
	if _, err := Open(t.Context(), url+"vault://no-field"); err == nil || !strings.Contains(err.Error(), "PATH#FIELD") {
		t.Errorf("no field: %v", err)
	}
}
