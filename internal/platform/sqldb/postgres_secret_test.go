package sqldb

import (
	"net"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"weir/tests/integration/vaulted"
)

// hear is a PostgreSQL that asks for the password, keeps it, and refuses.
func hear(conn net.Conn, keep func(string)) {
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
			keep(given.Password)
		}
	}
	b.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "28P01", Message: "password authentication failed"})
	_ = b.Flush()
}

// Each connection has the password that is in the Vault then, whatever it holds,
// and no error shows it.
func TestPostgres_ThePasswordOfTheVaultIsOfEachConnection(t *testing.T) {
	set := vaulted.Start(t)
	d := vaulted.NewDoor(t, hear)
	url := "postgres://weir@" + d.Address + "/weir?sslmode=disable&password="
	for i, password := range vaulted.Hostile() {
		set(password)
		_, err := Open(t.Context(), url+vaulted.Reference)
		told := d.Told()
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
